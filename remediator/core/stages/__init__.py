"""The stages of a run, one module each: how it begins, and what it does with what it hears.

Every module offers ``enter(turn)`` and ``hear(turn, event)``. They never call each other: a stage
ends by `Turn.enter`-ing the next, and `decide` lets that one begin.
"""
