"""What pip wrote, and the sentence that a person gets."""

from __future__ import annotations

import pytest

from easy_scripts.install.failures import explain_failure

DOING = "PyTorch could not be installed"
NO_NETWORK = (
    "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) "
    "after connection broken by 'NewConnectionError('Failed to establish a new connection: "
    "[Errno -3] Temporary failure in name resolution')': /simple/torch/\n"
    "ERROR: Could not find a version that satisfies the requirement torch==2.13.0\n"
    "ERROR: No matching distribution found for torch==2.13.0"
)


@pytest.mark.parametrize(
    ("output", "cause", "remedy"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
            "device",
            "disk is full",
            "Make room",
        ),
        ("OSError: [WinError 112] There is not enough space on the disk", "disk is full", "Make"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: "
            "'/x/.venv/lib/python3.11/site-packages/regex'",
            "access was denied",
            "Close every window",
        ),
        ("PermissionError: [WinError 5] Access is denied: 'C:\\\\x'", "access was denied", "Close"),
        (
            "[WinError 32] The process cannot access the file because it is being used by another "
            "process",
            "in use",
            "Close every training",
        ),
        (
            "OSError: [WinError 206] The filename or extension is too long: 'C:\\\\very'",
            "path is too long",
            "short path",
        ),
        (NO_NETWORK, "cannot be reached", "connection to the internet"),
        (
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify "
            "failed: self-signed certificate in certificate chain",
            "certificate was not accepted",
            "clock",
        ),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel'))", "proxy", "Check the proxy"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "damaged on its way",
            "Start again",
        ),
        (
            "ERROR: Wheel 'pip' located at /x y/pip-26.3-py3-none-any.whl is invalid.",
            "broke off",
            "Start again",
        ),
        ("IncompleteRead(100 bytes read, 900 more expected)", "broke off", "Start again"),
        (
            "ERROR: No matching distribution found for torch==2.13.0+cu126",
            "no torch==2.13.0+cu126 for this computer",
            "mirror",
        ),
        (
            "OSError: [WinError 225] Operation did not complete successfully because the file "
            "contains a virus or potentially unwanted software",
            "virus scanner blocked",
            "Exclusions",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 2] No such file or "
            "directory: 'C:\\\\very'\nHINT: This error might have occurred since this system "
            "does not have Windows Long Path support enabled.",
            "path is too long",
            "short path",
        ),
        (
            "OSError: Could not find a suitable TLS CA certificate bundle, invalid path: "
            "C:\\x y.pem",
            "file of certificates that is not there: C:\\x y.pem.",
            "Remove cert from pip's",
        ),
        (
            "ERROR: Can not perform a '--user' install. User site-packages are not visible in this "
            "virtualenv.",
            "the user's own folder",
            "Remove user from pip's",
        ),
        ("MemoryError", "out of memory", "Close other programs"),
    ],
)
def test_cause_and_remedy(output, cause, remedy):
    sentence = explain_failure(output.splitlines(), 1, DOING)
    assert sentence.startswith(DOING + ". ")
    assert cause in sentence
    assert remedy in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("code", [-9, 137])
def test_killed_for_want_of_memory(code):
    assert "want of memory" in explain_failure(["Collecting torch"], code, DOING)


def test_an_unknown_failure_shows_the_last_line():
    sentence = explain_failure(["first", "the odd thing happened", ""], 2, DOING)
    assert sentence == f"{DOING} (the odd thing happened), and set-up does not know why."
