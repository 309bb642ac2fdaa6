"""`make demo`: the nightly run over this folder, the morning summary, one scorecard in full, and what to do next.

It types the same commands that a site's timer and people type.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CALL = "d02"  # an angry customer: findings of several kinds in one card

NEXT = """
下一步 · Next
  HUITING_SETTINGS=demo/huiting.toml {huiting} app --demo      打开应用 · open the app
  HUITING_SETTINGS=demo/huiting.toml {huiting} show d08 --transcript   看另一通 · another call
  HUITING_SETTINGS=demo/huiting.toml {huiting} export --out var/demo/demo.xlsx   导出 · export
  {huiting} run 你的录音文件夹   听自己的录音 · your own recordings (docs/operations.md)
"""


def main() -> int:
    environment = {**os.environ, "HUITING_SETTINGS": str(HERE / "huiting.toml")}
    huiting = Path(sys.executable).with_name("huiting")

    def type_command(*arguments: str) -> int:
        print(f"\n$ huiting {' '.join(arguments)}", flush=True)
        return subprocess.run([huiting, *arguments], env=environment, check=False).returncode

    code = type_command("run")
    if code:
        return code
    code = type_command("show", CALL)
    print(NEXT.format(huiting=os.path.relpath(huiting)))
    return code


if __name__ == "__main__":
    sys.exit(main())
