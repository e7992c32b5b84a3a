"""`python -m sdfrender`."""

import sys

from sdfrender.cli import main

sys.exit(main())
