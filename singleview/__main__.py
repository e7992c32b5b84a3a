"""`python -m singleview`."""

import sys

from singleview.cli import main

sys.exit(main())
