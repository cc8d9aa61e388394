"""Engines to race against: a file each, each with the same ``load``."""

import os

# Before any engine is imported: nothing is fetched from a hub, and no statistics of use are sent. OpenVINO's tools send
# them from the import on, unless they are in CI.
os.environ.update(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1", CI="true", TOKENIZERS_PARALLELISM="true")
