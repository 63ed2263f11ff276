"""`python -m serving.cli` is the command `vigil`."""

from serving.cli.command import main

if __name__ == "__main__":
    main()
