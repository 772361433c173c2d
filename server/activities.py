"""Live Activities over REST."""

from realtime.schema.bodies import RegisterActivity
from server.call import Answer, Call, Created, Succeeded


async def register(call: Call[RegisterActivity]) -> Answer[Succeeded]:
    await call.services.activities.register(call.caller, call.body)
    return Created({"success": True})
