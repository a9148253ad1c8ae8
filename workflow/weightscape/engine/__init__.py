"""The training engine: stacks of runs of one width, and the two ways to advance them.

`by_hand` trains one run on the CPU with its family's own compiled gradients; `autograd` trains any
family, one run or many side by side, on the CPU or a GPU. To `training`, the loop over epochs and
the job around it, both are a `stack.Stack`. Beside it `streams` has the random numbers, `devices`
what the bytes depend on, `memory` how many runs fit, and `recorder` what is noted of each epoch.
"""
