"""What is judged after the commit: the checks that need a day's readings beside each other, or more days than one."""
