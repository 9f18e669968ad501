"""`python -m parleyd`."""

import sys

from parleyd.cli.main import main

sys.exit(main())
