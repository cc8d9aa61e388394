"""Other engines to compare with, one module each. Every module has a factory ``load``; see ``_common.py``."""

import os

# Set before any engine is imported: no downloads from the hub, no usage reports. OpenVINO's tools send reports from the
# import on, except in CI.
os.environ.update(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1", CI="true", TOKENIZERS_PARALLELISM="true")
