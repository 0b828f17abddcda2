"""The practice bake as a command: `python -m scripts.practice [FOLDER]`."""

import sys

from scripts.practice.bake import main

if __name__ == "__main__":
    sys.exit(main())
