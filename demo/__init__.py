"""The demo: one month of the DAG on this machine, watched from the outside and summed up."""
