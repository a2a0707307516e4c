"""Why a verdict is as it is: the lines that speak most for it, and what did not come."""
