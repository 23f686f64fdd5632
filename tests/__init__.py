import os

# Before PyTorch is there: two workers of the tests with two threads each on two cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
