"""The files of the page."""

from importlib.resources import files
from pathlib import Path

from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(str(files("logllm.serve"))) / "page"


class PageFiles(StaticFiles):
    """The page's files as they are; browsers ask whether theirs are still the same."""

    def __init__(self) -> None:
        """Of the folder that comes with logllm."""
        super().__init__(directory=FOLDER, html=True, check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, but no source of ours."""
        # The folder is a package, for its files to be found when logllm is installed.
        response = await super().get_response("absent" if path.endswith(".py") else path, scope)
        if isinstance(response, FileResponse) or response.status_code == 304:
            response.headers["cache-control"] = "no-cache"
        return response
