"""Makes the models of the zoo: `python -m export [GROUP or NAME ...]`, in this folder's parent.

Groups: sklearn, boosting, catboost, torch, handmade; without a word, all of these. Models and references are
committed; what is made again differs where a library's version or a processor's arithmetic does. The group large is
made where it is wanted.
"""

import sys
import time
import traceback
import warnings

from export import entry, load_groups


def main() -> int:
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    load_groups()
    wanted = sys.argv[1:]
    chosen = [item for item in entry.ENTRIES if item[0] in wanted or item[1] in wanted]
    if not wanted:
        chosen = [item for item in entry.ENTRIES if item[1] != entry.LARGE]
    failed = []
    records = []
    for name, _, build in chosen:
        start = time.monotonic()
        try:
            records.append(entry.write(build()))
            facts = records[-1]
            print(
                f"{name}: {facts['bytes']} bytes, spread {facts.get('batch_spread')}, "
                f"to library {facts.get('onnxruntime_to_library')}, {time.monotonic() - start:.1f} s"
                + (f", onnxruntime refuses: {facts['onnxruntime_refuses']}" if "onnxruntime_refuses" in facts else ""),
                flush=True,
            )
        except Exception:
            failed.append(name)
            print(f"{name}: FAILED\n{traceback.format_exc()}", flush=True)
    entry.save_lists(records)
    print(f"{len(records)} models made, {len(failed)} failed: {' '.join(failed)}")
    return 1 if failed or not records else 0


if __name__ == "__main__":
    sys.exit(main())
