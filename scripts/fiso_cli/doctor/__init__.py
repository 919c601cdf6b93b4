"""`fiso doctor`: what is wrong with a stage, why it matters, and the command or setting that mends it. Changes nothing.

    finding      what a check says
    stack        the deployed template with its names, as CloudFormation resolved them
    site         the stage and what several checks ask of it
    run          the checks beside each other, each within its time
    account, functions, stores, keys, database, targets, rounds, permissions     the checks themselves

What a stage should be is read from the template that was deployed, never from a second list.
"""
