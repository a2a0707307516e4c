"""`python -m logllm` is `logllm`."""

from logllm.cli.app import main

if __name__ == "__main__":
    main()
