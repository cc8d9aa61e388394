"""``python -m toxonnx``"""

from toxonnx.cli import main

main()
