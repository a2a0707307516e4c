"""One log judged by several processes, with the verdicts of one."""
