# %% [markdown]
# # Score a data frame, and see what a threshold does
#
# Needs `pip install 'toxonnx[cpu]' pandas`. Run it as a script, or cell by cell in an editor that knows `# %%` cells
# (VS Code, PyCharm, Spyder) or in Jupyter with jupytext.

# %%
import pandas as pd

from toxonnx import Classifier

classifier = Classifier.load()  # the included model; or Classifier.load("my-bundle")
print(classifier)

# %% [markdown]
# A classifier takes any Series of strings. `Scores` has arrays with one row per text; a notebook shows the first rows.

# %%
frame = pd.DataFrame(
    {
        "author": ["anna", "ben", "chris", "dora", "eli", "fay", "gus", "hana"],
        "comment": [
            "Thanks for the recipe, the soup was lovely!",
            "What a stupid idea, honestly.",
            "The train was late again.",
            "This idiot printer eats every second page.",
            "See you at noon.",
            "You are a fool, and your plan is garbage.",
            "The garden looks wonderful this year.",
            "Shut up and read the manual.",
        ],
    }
)
scores = classifier.score(frame["comment"])
print(scores)

# %% [markdown]
# The columns that `toxonnx predict` would add to a file:

# %%
scored = frame.assign(**scores.to_dict())
print(scored.to_string(index=False, float_format="%.3f"))

# %% [markdown]
# How many of the texts have a probability of a label at or above a threshold. With labelled rows, `toxonnx eval` shows
# precision and recall at each threshold, with their intervals.

# %%
for label, probability in zip(classifier.labels.names, scores.probabilities.T, strict=True):
    print(f"\n{label}")
    for threshold in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9):
        count = int((probability >= threshold).sum())
        print(f"  {threshold:4.2f} {'#' * count:{len(frame)}} {count} of {len(frame)}")
