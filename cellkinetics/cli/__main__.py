"""`python -m cellkinetics.cli`, where the command `cellkinetics` is not on the path."""

from cellkinetics.cli.running import main

if __name__ == "__main__":
    main()
