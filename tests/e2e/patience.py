# SPDX-License-Identifier: GPL-2.0-only
"""How much longer than usual this machine may take for everything; an emulated one takes long."""

import os

PATIENCE = float(os.environ.get("DROPTRACE_TEST_PATIENCE", "1"))
