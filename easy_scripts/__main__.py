"""The one door: python -m easy_scripts VERB. Start it without a verb to see the verbs.

Also works from another folder as: python /path/to/the/project/easy_scripts VERB
"""

import os
import sys

PROJECT_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    """Refuse a Python that cannot do it in one sentence, else run the verb."""
    if not __package__:  # started by the folder's path: Python put that folder on the path
        sys.path[0] = PROJECT_FOLDER
    from easy_scripts.launcher.python_version import refuse_this_python

    refusal = refuse_this_python()
    if refusal:
        sys.stderr.write(refusal + "\n")
        return 1
    from easy_scripts.verbs import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
