"""Tags and notes: what an admin's tool hangs on a record without changing it."""

from typing import Any

import msgspec

from service.zoho.simulator.clock import iso
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import error_item, module_of, problem
from service.zoho.simulator.crm.records import API_USER
from service.zoho.simulator.crm.rows import table, user_objects
from service.zoho.simulator.crm.writes import Item, body_of, each, summary
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

TAGS_PER_CREDIT = 50


def add_tags(world: World, call: Call) -> Reply:
    """Answer `POST /{Module}/actions/add_tags` and the same of one record."""
    return _tag(world, call, "INSERT OR IGNORE INTO tags VALUES (?, ?, ?)", "tags updated successfully")


def remove_tags(world: World, call: Call) -> Reply:
    """Answer `POST /{Module}/actions/remove_tags` and the same of one record."""
    statement = "DELETE FROM tags WHERE module = ? AND record_id = ? AND name = ?"
    return _tag(world, call, statement, "tags updated successfully")


def tags_price(call: Call) -> int:
    """Return the credits of tagging: 1 per 50 records."""
    try:
        return max(1, -(-len(msgspec.json.decode(call.body)["ids"]) // TAGS_PER_CREDIT))
    except (msgspec.DecodeError, LookupError, TypeError):
        return 1


def add_notes(world: World, call: Call) -> Reply:
    """Answer `POST /Notes` and `POST /{Module}/{id}/Notes`: 201 with one result per note."""
    results = each(world, body_of(call), lambda position, note: _note(world, call, position, note))
    return summary(world, results, ok=201)


def get_notes(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}/Notes`, newest first; 204 when none."""
    module = module_of(call)
    rows = world.db.execute(
        "SELECT id, title, content, created_at, created_by FROM notes WHERE module = ? AND record_id = ?"
        " ORDER BY id DESC LIMIT 200",
        (module, call.slots["record_id"]),
    ).fetchall()
    if not rows:
        return Reply(status=204)
    users = user_objects(world.db)
    data = [
        {
            "id": str(number),
            "Note_Title": title,
            "Note_Content": content,
            "Created_Time": iso(created_at),
            "Created_By": users.get(created_by),
            "Parent_Id": {"module": {"api_name": module}, "id": call.slots["record_id"]},
        }
        for number, title, content, created_at, created_by in rows
    ]
    info = {"per_page": 200, "count": len(data), "page": 1, "more_records": False}
    return json_reply({"data": data, "info": info})


def tags_of(world: World, module: str, number: int) -> list[Item]:
    """Return a record's tags as it shows them."""
    rows = world.db.execute(
        "SELECT name FROM tags WHERE module = ? AND record_id = ? ORDER BY name", (module, number)
    )
    return [{"name": name, "id": None, "color_code": None} for (name,) in rows.fetchall()]


def _tag(world: World, call: Call, statement: str, message: str) -> Reply:
    module = module_of(call)
    body = _object(call)
    names = [str(tag.get("name")) for tag in body.get("tags") or [] if isinstance(tag, dict)]
    ids = [call.slots["record_id"]] if "record_id" in call.slots else [str(i) for i in body.get("ids") or []]
    if not names or not ids:
        raise problem("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "tags"})
    results: list[Item] = []
    for text in ids:
        number = _existing(world, module, text)
        if number is None:
            results.append(error_item("INVALID_DATA", "the id given seems to be invalid", {"id": text}))
            continue
        for name in names:
            world.db.execute(statement, (module, number, name))
        details = {"id": text, "tags": [tag["name"] for tag in tags_of(world, module, number)]}
        results.append({"code": "SUCCESS", "details": details, "message": message, "status": "success"})
    return summary(world, results, ok=200)


def _note(world: World, call: Call, position: int, note: Any) -> Item:  # noqa: ANN401 - what JSON held
    parent = note.get("Parent_Id") or {}
    module = call.slots.get("module") or (parent.get("module") or {}).get("api_name", "")
    number = _existing(world, module, call.slots.get("record_id", str(parent.get("id", ""))))
    path = f"$.data[{position}]"
    if number is None:
        details = {"api_name": "Parent_Id", "json_path": f"{path}.Parent_Id"}
        return error_item("INVALID_DATA", "the related id given seems to be invalid", details)
    if not note.get("Note_Content"):
        details = {"api_name": "Note_Content", "json_path": f"{path}.Note_Content"}
        return error_item("MANDATORY_NOT_FOUND", "required field not found", details)
    now, key = world.clock.seconds(), world.next_record_id()
    world.db.execute(
        "INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key, module, number, note.get("Note_Title"), note["Note_Content"], now, API_USER),
    )
    created: Item = {"Created_Time": iso(now), "id": str(key)}
    return {"code": "SUCCESS", "details": created, "message": "record added", "status": "success"}


def _existing(world: World, module: str, text: str) -> int | None:
    if module not in MODULES or not text.isdigit():
        return None
    found = world.db.execute(f"SELECT id FROM {table(module)} WHERE id = ?", (int(text),)).fetchone()
    return None if found is None else int(found[0])


def _object(call: Call) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.body, type=dict[str, Any])
    except msgspec.DecodeError:
        details = {"expected_data_type": "jsonobject"}
        raise problem("INVALID_DATA", "body is not a JSON object", details) from None
