"""`python -m epifoundation.cli`, where the command itself is not on PATH."""

import sys

from epifoundation.cli import main

sys.exit(main())
