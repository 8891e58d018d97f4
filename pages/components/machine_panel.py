"""What this machine grants and lacks, looked at once its panel is open."""

from __future__ import annotations

import streamlit as st

from cifar_core import doctor
from pages.components import formatting, guarded

_LOOK = {
    "ok": ":green[:material/check_circle:]",
    "warning": ":orange[:material/warning:]",
    "error": ":red[:material/error:]",
}


@guarded.fragment
def panel() -> None:
    """Draw the panel."""
    place = st.expander("This machine", icon=":material/computer:", key="this_machine", on_change="rerun")
    if not place.open:
        return
    lines = []
    for check in doctor.checks():
        name = "GPU" if check.name == "gpu" else check.name.capitalize()
        advice = f"*{formatting.plain(check.advice)}*" if check.advice else ""
        lines.append(f"{_LOOK[check.state]} **{name}**: {formatting.plain(check.value)} {advice}")
    place.markdown("\n\n".join(lines))
