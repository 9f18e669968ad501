"""How Sphinx makes the site of the handbook; scripts/build-docs runs it."""

project = "parleyd"
copyright = "the parleyd developers"
html_title = "parleyd"
extensions = ["myst_parser"]
root_doc = "index"
# Headings have the names that they have on GitHub, so that one link is right in both places.
myst_heading_anchors = 6
myst_enable_extensions = ["colon_fence"]
nitpicky = True
# Listings with "..." in them are no whole YAML.
# The page of an example is reached from the page about tools alone.
suppress_warnings = ["misc.highlighting_failure", "toc.not_included"]
# It has its fonts from the reader's machine, and its scripts in the site.
html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
# Pictures that a page shows by HTML; Sphinx copies those of Markdown only.
html_extra_path = ["extra"]
