"""Who gets in to the page: by name and password, from this machine's names, asked by itself."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse

pytest.importorskip("gradio", reason="the extra webui is not installed")
from starlette.testclient import TestClient

from idiolect.webui.door import Door

LOCAL = "http://127.0.0.1:7860"
OURS = ("marta", "un secret")


def client(*, auth: str | None = None, is_local: bool = True, base_url: str = LOCAL) -> TestClient:
    return TestClient(
        Door(PlainTextResponse("inside"), auth=auth, is_local=is_local), base_url=base_url
    )


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "localhost"])
def test_this_machine_may_come_in_by_any_of_its_names(host):
    assert client().get("/", headers={"host": host}).text == "inside"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:7860", "", "[::1"])
def test_a_name_that_is_not_this_machines_is_not_answered_to(host):
    assert client().get("/", headers={"host": host}).status_code == 403


def test_a_page_for_the_network_answers_to_any_name():
    answer = client(is_local=False).get("/", headers={"host": "studio.example:7860"})

    assert answer.text == "inside"


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_nothing_is_changed_at_the_word_of_another_page(method):
    ask = getattr(client(), method)

    assert ask("/run", headers={"origin": "http://evil.example"}).status_code == 403
    assert ask("/run", headers={"origin": "null"}).status_code == 403
    assert ask("/run", headers={"origin": LOCAL}).text == "inside"
    assert ask("/run").text == "inside"


def test_without_the_password_nothing_is_answered():
    door = client(auth=":".join(OURS))

    for path in ("/", "/en/", "/tensorboard/1/", "/en/gradio_api/queue/join"):
        answer = door.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("given", [("marta", "un secreT"), ("Marta", "un secret"), ("", "")])
def test_a_wrong_name_or_password_stays_outside(given):
    assert client(auth=":".join(OURS)).get("/", auth=given).status_code == 401


@pytest.mark.parametrize("header", ["Basic %%%", "Bearer abc", "Basic", ""])
def test_what_is_no_login_stays_outside(header):
    answer = client(auth=":".join(OURS)).get("/", headers={"authorization": header})

    assert answer.status_code == 401


def test_the_right_name_and_password_come_in():
    assert client(auth=":".join(OURS)).get("/", auth=OURS).text == "inside"
