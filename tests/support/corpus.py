"""Messages in six languages and a plain scan of them, to compare a search with."""

import random
import unicodedata
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, update

from storage.models import channels, chats, members, messages
from storage.text import fold
from storage.types import SECOND, new_id, now

TURKISH, ENGLISH, ARABIC = SPACED = [
    each.split()
    for each in (
        "toplantı yarın sabah İzmir Isparta Öztürk Işıl gül çiçek ağaç şeker ılık ışık İstanbul'da geldi gitti görüşürüz mı "
        "müsait değilim çünkü yağmur yağıyor akşam kahve içelim Ankara'ya dönüş bileti aldım teşekkür ederim",
        "meeting tomorrow morning coffee the a of and I'm don't re-sent invoice number 42 ticket Zürich naïve café please "
        "review release candidate deployed rollback latency p99 graph looks fine thanks great WORK works working worker",
        "السلام عليكم مُحَمَّد كتاب جديد اجتماع غدا صباحا القاهرة شكرا جزيلا رســالة مهمة قهوة نلتقي",
    )
]
CHINESE = ("今天天气很好", "明天开会", "请看文件", "谢谢你", "北京", "上海见面", "价格太高了", "好的没问题")
JAPANESE = (
    "今日は良い天気",
    "明日会議があります",
    "ありがとう",
    "カタカナ",
    "東京で会いましょう",
    "ﾊﾝｶｸ",
    "がんばって",
)
EMOJI = ("👍", "👍🏽", "🎉🎉", "👨‍👩‍👧", "❤️", "🇹🇷", "☕", "🔥")
RUNS = (CHINESE, JAPANESE)


def words(source: random.Random, language: Sequence[str], count: int) -> str:
    """Some words often, most seldom, and a name or a number that hardly anything else has."""
    chosen = [language[min(int(source.expovariate(6 / len(language))), len(language) - 1)] for _ in range(count)]
    if source.random() < 0.3:
        chosen.insert(source.randrange(len(chosen) + 1), f"{source.choice(language)}{source.randrange(2000)}")
    return " ".join(chosen)


def text(source: random.Random) -> str:
    kind = source.random()
    if kind < 0.7:
        made = words(source, source.choice(SPACED), source.randrange(1, 16))
    elif kind < 0.9:
        made = "、".join(source.choice(source.choice(RUNS)) for _ in range(source.randrange(1, 4)))
    else:
        made = words(source, ENGLISH, 3) + source.choice(CHINESE)
    return made + (" " + source.choice(EMOJI) if source.random() < 0.2 else "")


def query(source: random.Random) -> str:
    """A query that most often finds something: words of a text, beginnings, phrases, parts of a run."""
    kind = source.random()
    if kind < 0.2:
        run = source.choice(source.choice(RUNS))
        begin = source.randrange(len(run) - 1)
        return run[begin : begin + source.randrange(2, 5)]
    some = text(source).split()
    chosen = source.sample(some, min(len(some), source.randrange(1, 4)))
    if kind < 0.5:
        return " ".join([*chosen[:-1], chosen[-1][: source.randrange(2, 6)]])
    if kind < 0.6:
        begin = source.randrange(len(some))
        return f'"{" ".join(some[begin : begin + 2])}"'
    return " ".join(source.choice((str.upper, str.lower, str))(each) for each in chosen)


# A plain scan


Scan = Sequence[tuple[str, bool]]
UNSPACED = (
    "CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "IDEOGRAPHIC ITERATION",
)  # fmt: skip


def is_unspaced(character: str) -> bool:
    name = unicodedata.name(character, "")
    scripts = (
        "CJK UNIFIED",
        "CJK COMPATIBILITY IDEOGRAPH",
        "HIRAGANA",
        "KATAKANA",
        "HANGUL",
        "THAI",
        "IDEOGRAPHIC ITERATION",
    )
    return name.startswith(scripts) and unicodedata.category(character)[0] in "LM"


def scan(text: str) -> list[tuple[str, bool]]:
    """Words of a folded text, and characters of scripts without spaces; whether each directly follows the one before."""
    found: list[tuple[str, bool]] = []
    previous = ""
    for character in fold(text):
        category = unicodedata.category(character)
        if character in "\u200d\ufe0f\u0640":
            continue
        if is_unspaced(character):
            kind = "run"
            found.append((character, previous == "run"))
        elif category[0] in "LNM":
            kind = "word"
            if previous == "word":
                found[-1] = (found[-1][0] + character, False)
            else:
                found.append((character, False))
        elif category == "So":
            kind = "symbol"
            found.append((character, False))
        else:
            kind = "nothing"
        previous = kind
    return found


def parts(query: str) -> list[tuple[list[tuple[str, bool]], bool]]:
    """What must be there, and whether its last word may be a beginning."""
    pieces = query.split('"')
    wanted = []
    for number, piece in enumerate(pieces):
        if number % 2:
            if scan(piece):
                wanted.append((scan(piece), False))
        else:
            for word in scan(piece):
                if word[1]:
                    wanted[-1][0].append(word)
                else:
                    wanted.append(([word], False))
    if wanted and len(pieces) % 2 and scan(pieces[-1]):
        wanted[-1] = (wanted[-1][0], True)
    return wanted


def holds(text: Scan, query: Sequence[tuple[Scan, bool]]) -> bool:
    places = range(len(text))
    return all(any(begins(text[place:], *each) for place in places) for each in query)


def begins(text: Scan, wanted: Scan, is_beginning: bool) -> bool:
    if len(text) < len(wanted):
        return False
    for number, (word, follows) in enumerate(wanted):
        there, directly = text[number]
        if follows and not directly:
            return False
        if there != word and not (is_beginning and number == len(wanted) - 1 and there.startswith(word)):
            return False
    return True


# In a database


def store(connection: Connection, user_pk: int, tenant_pk: int, texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Chats of one member with these messages, whose log is gone; the ids of the messages."""
    at = now() - 1000 * SECOND
    ids = []
    for number, contents in enumerate(texts):
        head = len(contents)
        pk: Any = connection.execute(
            insert(channels).values(name="", head=head, floor=head, ordinal=head).returning(channels.c.pk)
        ).scalar_one()
        id = new_id()
        connection.execute(update(channels).where(channels.c.pk == pk).values(name=f"chat:{id}"))
        facts = {"type": "group", "name": f"Chat {number}", "history_visible": "all", "member_count": 1}
        times = {"created_at": at, "updated_at": at}
        connection.execute(insert(chats).values(pk=pk, tenant_pk=tenant_pk, id=id, swept=False, **facts, **times))
        position = {"joined_seq": 0, "read_seq": head, "joined_at": at, "read_ordinal": head, "own_after": 0}
        connection.execute(insert(members).values(chat_pk=pk, user_pk=user_pk, role="owner", **position))
        rows = [
            {
                "chat_pk": pk,
                "seq": seq,
                "id": new_id(),
                "sender_pk": user_pk,
                "type": "text",
                "content": content,
                "ordinal": seq,
                "created_at": at + number,
                "updated_at": at + number,
            }
            for seq, content in enumerate(contents, 1)
        ]
        connection.execute(insert(messages), rows)
        ids.append([str(each["id"]) for each in rows])
    return ids
