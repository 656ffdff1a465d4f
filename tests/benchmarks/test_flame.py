"""Profilers' stacks, and the picture that is made of them."""

import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from benchmarks.flame import draw_flame
from benchmarks.stacks import (
    C_LIBRARIES,
    COMPILED,
    KERNEL,
    OTHER_PYTHON,
    PARTS,
    PYTHON,
    UVLOOP,
    Frame,
    demangle,
    parse_perf,
    parse_py_spy,
    share_by_function,
    share_by_part,
)

PY_SPY = """\
main (cli.py:48);uv_run (core.c:464);uv__read (stream.c:1154);go (line.py:1);f (fastchat/rooms.py:9) 6
main (cli.py:48);uv_run (core.c);tick (fastchat/_ring.pyx:5);Py_DECREF (object.h:5);send (libc.so.6) 3
main (cli.py:48);uv_run (core.c:464);uv__io_poll (linux.c:1452);epoll_pwait (libc.so.6) 50
run (threading.py:1);Thread.run (threading.py:982);0x7f00 (orjson/orjson.cpython-311-x86_64-linux-gnu.so) 1
"""

PERF = """\
python
\tffffffff81 tcp_sendmsg ([kernel.kallsyms])
\t    10ab59 __send (/lib/libc.so.6)
\t     20fc0 __pyx_f_8fastchat_7_fanout_6Fanout_flush (/lib/fastchat/_fanout.cpython-311.so)
\t     12a2f6 uv_run (/lib/uvloop/loop.cpython-311-x86_64-linux-gnu.so)
\t     fd9c2 _PyEval_EvalFrameDefault (/usr/lib/libpython3.11.so.1.0)

"""


def test_py_spy_stacks_begin_at_the_loop_and_waiting_is_left_out() -> None:
    stacks = parse_py_spy(PY_SPY)
    assert stacks.total() == 10
    shares = share_by_part(stacks)
    assert shares == pytest.approx(dict.fromkeys(PARTS, 0) | {PYTHON: 0.6, KERNEL: 0.3, C_LIBRARIES: 0.1})
    assert sorted([frame.name for frame in stack] for stack in stacks) == [
        ["orjson"],
        ["tick", "send"],
        ["uv__read", "go", "f"],
    ]


def test_perf_stacks_are_turned_round_and_have_the_kernel_in_them() -> None:
    stacks = parse_perf(PERF)
    assert stacks == {
        (
            Frame("Fanout_flush", "fastchat/_fanout.cpython-311.so", COMPILED),
            Frame("send", "kernel", KERNEL),
            Frame("tcp_sendmsg", "kernel", KERNEL),
        ): 1
    }


def test_a_recursive_function_is_counted_once_with_all_that_it_calls() -> None:
    frame, other = Frame("f", "a.py", OTHER_PYTHON), Frame("g", "a.py", OTHER_PYTHON)
    shares = share_by_function(Counter({(frame, other, frame): 3, (other,): 1}))
    assert shares == [(frame, 0.75, 0.75), (other, 0.25, 1.0)]


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("__pyx_f_8fastchat_7_fanout_6Fanout_flush", "Fanout_flush"),
        ("__pyx_pw_8fastchat_7_fanout_6Fanout_7tick", "Fanout_tick"),
        ("__pyx_pf_6uvloop_4loop_4Loop_44run_until_complete", "Loop_run_until_complete"),
        ("__pyx_f_6uvloop_4loop_cb_idle_callback", "cb_idle_callback"),
        ("_PyEval_Vector", "_PyEval_Vector"),
    ],
)
def test_cython_names_are_read(mangled: str, name: str) -> None:
    assert demangle(mangled) == name


def test_a_frame_is_as_wide_as_its_share() -> None:
    wide, narrow = Frame("<wide>", "a.py", PYTHON), Frame("narrow", "b.c", UVLOOP)
    picture = ET.fromstring(draw_flame("a & b", Counter({(wide,): 3, (narrow,): 1})))
    svg = "{http://www.w3.org/2000/svg}"
    widths = {
        group.findtext(f"{svg}title"): float(group.find(f"{svg}rect").attrib["width"])  # type: ignore[union-attr]
        for group in picture.iter(f"{svg}g")
    }
    assert widths == {
        "the server: 100.0%, itself 0.0%": 1180.0,
        "<wide> (a.py): 75.0%, itself 75.0%": 885.0,
        "narrow (b.c): 25.0%, itself 25.0%": 295.0,
    }
    assert "a & b" in [text.text for text in picture.iter(f"{svg}text")]
