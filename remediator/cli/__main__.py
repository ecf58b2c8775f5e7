"""``python -m remediator.cli``."""

import sys

from remediator.cli import main

sys.exit(main())
