"""At which rate new sockets are let in, and which are refused because they would wait too long."""

import asyncio
import math

BURST_SECONDS = 0.05
GROUP_SECONDS = 0.1


class Admission:
    """Lets so many through in a second, after those of a twentieth of one at once, one after the other.

    When a node fails or starts, all its clients come at once; clients that are connected must not notice.
    """

    def __init__(self, per_second: float, longest_wait: float) -> None:
        self.interval = 1 / per_second
        self.longest_wait = longest_wait
        self.next = -math.inf

    async def turn(self) -> bool:
        """Wait for a place in the queue; False if the wait would be too long."""
        moment = asyncio.get_running_loop().time()
        mine = max(self.next, moment - BURST_SECONDS)
        if mine - moment > self.longest_wait:
            return False
        self.next = mine + self.interval
        if mine > moment:
            # Together with others: what many ask the database at a time is read in one.
            await asyncio.sleep(math.ceil(mine / GROUP_SECONDS) * GROUP_SECONDS - moment)
        return True
