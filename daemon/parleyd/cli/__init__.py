"""The commands of `parleyd`, one in each module.

main.main() parses the command line, calls the command's run(), and turns errors into texts and exit codes. Only
__main__ imports it.
"""
