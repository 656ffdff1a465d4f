"""People in front of the page, and what they can see and do there."""

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Locator, Page, expect

REFUSED = "net::ERR_CONNECTION_REFUSED"


class Visitor:
    """One person with a browser of his or her own: nothing is shared with others, not even storage."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.name = page.get_by_label("Your name")
        self.password = page.get_by_label("Password")
        self.problem = page.get_by_role("alert")
        self.draft = page.get_by_role("textbox", name="Message")
        self.log = page.get_by_role("log", name="Messages")
        self.messages = page.locator(".message .text")
        self.unsent = page.locator(".pending")
        self.reactions = page.locator(".reaction")
        self.notes = page.locator(".note")
        self.presence = page.locator("#presence")
        self.status = page.locator("#status")
        self.typing = page.locator("#typing")
        self.newer = page.get_by_role("button", name="Newer messages")

    def visit(self, address: str, room: str = "") -> None:
        self.page.goto(f"http://{address}/{room and '#' + room}")

    def enter(self, name: str) -> None:
        """Choose a name and press Enter."""
        self.name.fill(name)
        self.name.press("Enter")

    def enter_and_wait(self, name: str) -> None:
        self.enter(name)
        expect(self.draft).to_be_focused()

    def say(self, text: str) -> None:
        self.draft.fill(text)
        self.draft.press("Enter")

    def message(self, text: str) -> Locator:
        """The messages that say exactly this, with their author and time."""
        return self.page.locator(".message").filter(has=self.page.get_by_text(text, exact=True))


class Visitors:
    """Opens visitors' browsers and collects what their consoles complain about."""

    def __init__(self, browser: Browser) -> None:
        self.problems: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def new(self) -> Visitor:
        """A visitor who has not gone anywhere yet."""
        context = self._browser.new_context(locale="en-GB")
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)
        return Visitor(page)

    def chatting(self, address: str, name: str, room: str = "") -> Visitor:
        """A visitor who has entered a room."""
        visitor = self.new()
        visitor.visit(address, room)
        visitor.enter_and_wait(name)
        return visitor

    def leave(self) -> None:
        for context in self._contexts:
            context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        # That nobody listens while the server restarts is the browser's own remark, not the page's.
        if message.type in ("error", "warning") and REFUSED not in message.text:
            self.problems.append(message.text)

    def _on_page_error(self, error: Error) -> None:
        self.problems.append(str(error))
