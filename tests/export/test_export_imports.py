import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_part_of_an_export_reaches_tensorflow_or_streamlit() -> None:
    names = [f"cifar_core.export.{file.stem}" for file in (ROOT / "cifar_core" / "export").glob("[!_]*.py")]
    code = f"import sys, onnxruntime, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert set(names) <= loaded
    assert not loaded & {"tensorflow", "keras", "jax", "torch", "streamlit"}
