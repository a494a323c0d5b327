"""What rows of the catalogue share: which way is better, from where to where, and what identical populations have."""

import math
from typing import Any

Scale = dict[str, Any]
"""Fields of a `Metric`."""

UNIT = "log1p CP10k"
DISTANCE: Scale = {"better": "lower", "range": (0.0, math.inf), "identical": 0.0}
SHARE: Scale = {"better": "higher", "range": (0.0, 1.0), "identical": 1.0, "unit": "1"}
LOSS: Scale = {"better": "lower", "range": (0.0, 1.0), "identical": 0.0, "unit": "1"}
RATIO: Scale = {"better": "nearest", "range": (0.0, math.inf), "identical": 1.0, "unit": "1"}
CORRELATION: Scale = {"better": "higher", "range": (-1.0, 1.0), "identical": 1.0, "unit": "1"}
