"""What stands beside the pictures of the page: what they show, and what they cannot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """The text of a section, and which of the panels in three dimensions stand in it.

    Attributes:
        text: what is shown and what it cannot show.
        panels: first words of the panels' names; empty: none.
    """

    text: str
    panels: str | tuple[str, ...] = ""


NOTES = {
    "experts": Note(
        "The expert with the largest gate in every cell, averaged over the texts of a class. A "
        "gate says how much of an update is taken, not how large the update is, nor what it is "
        "for. Null: classes exchanged between texts.",
        "expert",
    ),
    "cells": Note(
        "Selectivity compares how far a cell's state is from its mean for one class and for the"
        " others. Probe accuracy is what a linear map reads from one cell on text it was not "
        "fitted to. Both show where the class can be found, not where it is used. Tests are "
        "corrected for the number of cells and steps.",
        ("selectivity", "accuracy"),
    ),
    "training": Note(
        "Statistics of the trained lattice (dot) beside lattices of the same configuration "
        "before their first update (lines). Only what lies outside of these was made by "
        "training. The first row is one test of all statistics of specialisation together; "
        "single ones are looked at only where it is small.",
    ),
    "lesions": Note(
        "What the output loses when a part no longer tells anything about its text: its value "
        "is set to zero, to its mean over texts, or to that of another text. Zero also removes "
        "constants that the readout expects, so that mean and another text are what counts. "
        "Parts that can stand in for each other cost little each.",
        "what the output",
    ),
    "use": Note(
        "All cells but some are held at their mean between steps. Which are kept is chosen on "
        "one half of the text and measured on the other. Cells belong to a class if the best "
        "cells for it carry it better than the best cells for the other classes.",
    ),
    "layers": Note(
        "Planes of cells from the front face (0) to the back face, after every step. Similarity"
        " is debiased CKA, which says neither that one can be computed from the other nor what "
        "is alike. Dimensions of few texts are too small: the curve shows whether they still "
        "rise. Information is that of a few principal components, less what chance gives.",
    ),
    "flow": Note(
        "How strongly a change of the code that enters moves every cell: the norm of the "
        "Jacobian. It is local, and counts directions that texts never take. Lagged information"
        " says after how many steps a plane resembles the front plane most; both may follow "
        "from a third.",
        "influence",
    ),
    "probes": Note(
        "Linear probes on as many principal components of each representation. The control task"
        " gives every type of text a class at random: what a probe finds there, it remembers. "
        "Description length is lower where fewer labels are needed to read the class.",
    ),
    "composition": Note(
        "Texts divided at their middle word: how much of the state of the whole follows "
        "linearly from those of both halves. A teacher that composes linearly makes every "
        "lattice that passes it on do so.",
    ),
    "damage": Note(
        "A block in the middle is set to zero once; the output is read after every later step, "
        "beyond the trained number too, where the whole model is at a loss as well. Cells of "
        "the wall keep their first states. The model was trained with neither.",
    ),
}

CHARTS = {
    "training": (
        "training",
        "Trained lattice (dot) and untrained lattices (lines); axes as titled.",
    ),
    "lesions": (
        "lesions",
        "Explained variance that each lesion costs, with intervals over groups.",
    ),
    "use": ("use", "Explained variance where only some cells keep their text between steps."),
    "layers": ("layers", "Rows: steps. Columns: planes. Empty where no text has arrived."),
    "similarity": ("layers", "Cosines between texts; lines divide the classes."),
    "dimension_and_lag": ("flow", "Left: dimension for fewer texts. Right: information at a lag."),
    "probes": (
        "probes",
        "Accuracy for the class and for the control task, and description length.",
    ),
    "damage": ("damage", "Left: what is lost after the damage. Right: readout behind the wall."),
}
