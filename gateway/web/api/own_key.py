"""GET /api/v1/key: what the caller's own key is and may do. The first call of whoever builds on the API."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from gateway.web.api.door import Caller, needs


class OwnKey(BaseModel):
    """What a key is."""

    controller: str
    key: str
    name: str
    scopes: list[str]


router = APIRouter(tags=["keys"])


@router.get("/key", summary="What the key is and may do")
async def own_key(caller: Annotated[Caller, Depends(needs())]) -> OwnKey:
    return OwnKey(
        controller=caller.controller.id, key=caller.key_id.hex(), name=caller.name, scopes=list(caller.scopes)
    )
