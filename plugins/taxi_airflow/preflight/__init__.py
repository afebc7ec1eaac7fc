"""What is checked before a run spends anything, on the command line and as a task of the DAG."""
