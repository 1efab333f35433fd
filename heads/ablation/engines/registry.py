"""The engines that there are: a file with one class (`heads.ablation.engines.protocol.Engine`), and a line here."""

from __future__ import annotations

__all__ = ["ENGINES"]

ENGINES = {
    "local": "heads.ablation.engines.local_engine:LocalEngine",
    "ray": "heads.ablation.engines.ray_engine:RayEngine",
}
