"""Pictures of users over REST."""

from aiohttp import web

from realtime.schema import documents
from realtime.schema.shapes import UserDocument
from server.call import Call
from server.conditions import not_modified
from server.media import POLICY, UploadFile
from storage.errors import Unsupported

# Of a URL with a version: another picture has another one.
CACHE_SECONDS = 7 * 24 * 3600


class AvatarFile(UploadFile):
    """A form with the part ``file``: a JPEG, PNG, GIF or WebP image, of which the middle is shown."""


async def put(call: Call[AvatarFile]) -> UserDocument:
    if call.upload is None:
        raise Unsupported("Send the image in the part file of a multipart/form-data body")
    return documents.user(await call.services.avatars.put(call.caller, call.upload), private=True)


async def remove(call: Call) -> UserDocument:
    return documents.user(await call.services.avatars.remove(call.caller), private=True)


async def show(call: Call) -> web.Response:
    avatar = await call.services.avatars.get(call.caller, call.id())
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": f"private, max-age={CACHE_SECONDS}" if "v" in call.request.query else "private, no-cache",
        "ETag": f'"{avatar.hash[:20]}"',
    }
    if not_modified(call.request, avatar.hash[:20]):
        return web.Response(status=304, headers=headers)
    return web.Response(body=avatar.data, content_type="image/webp", headers=headers)
