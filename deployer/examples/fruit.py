"""A fruit market on Ray Serve: two stands and a market that asks them. Real, and small enough to read.

Each stand's price comes from `user_config`, so changing it reconfigures the replicas in place. A price
that is not a positive number makes `reconfigure` raise, and a stand without a name makes the constructor
raise: the two kinds of broken change that the tour tries.

    GET /fruit?name=mango&amount=2   ->   {"fruit": "mango", "amount": 2, "price": 3, "total": 6}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import serve
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle
    from starlette.requests import Request


class Stand:
    """Sells one kind of fruit at the configured price."""

    def __init__(self, name: str) -> None:
        """Open the stand; a stand without a name cannot open."""
        if not name:
            message = "a stand needs a name"
            raise ValueError(message)
        self.price = 1.0

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Take a new price, as Serve calls it on every change of `user_config`."""
        price = config.get("price", 1)
        if not isinstance(price, int | float) or price <= 0:
            message = f"price must be a positive number, not {price!r}"
            raise ValueError(message)
        self.price = price

    def bill(self, amount: int) -> dict[str, float]:
        """What one costs, and so many."""
        return {"price": self.price, "total": self.price * amount}


class Market:
    """Takes the requests and asks the stand that sells the fruit."""

    def __init__(self, mango: DeploymentHandle, orange: DeploymentHandle) -> None:
        """Take the handles of the stands."""
        self.stands = {"mango": mango, "orange": orange}

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer with the bill, or 404 for a fruit that nobody sells."""
        fruit = request.query_params.get("name", "mango")
        amount = int(request.query_params.get("amount", "1"))
        if fruit not in self.stands:
            return JSONResponse({"error": f"nobody sells {fruit}"}, status_code=404)
        bill = await self.stands[fruit].bill.remote(amount)
        return JSONResponse({"fruit": fruit, "amount": amount, **bill})


MangoStand = serve.deployment(name="MangoStand")(Stand)
OrangeStand = serve.deployment(name="OrangeStand")(Stand)
FruitMarket = serve.deployment(name="FruitMarket")(Market)


def app(args: dict[str, str]) -> serve.Application:
    """Build the market; Serve calls it with the `args` of the config."""
    mango = MangoStand.bind(args.get("mango", "mango"))
    orange = OrangeStand.bind(args.get("orange", "orange"))
    return FruitMarket.bind(mango, orange)
