// What the pages need beyond GOV.UK Frontend and htmx: start the one, and say when the other has lost the server.
import { initAll } from "./vendor/govuk-frontend.min.js";

document.body.classList.add("js-enabled", "govuk-frontend-supported");
initAll();

const live = document.getElementById("live");

function say(well) {
  if (!live) return;
  const word = well ? "Live" : "Not live: the console does not answer. Reload the page.";
  if (live.textContent !== word) live.textContent = word;
  live.classList.toggle("app-live--lost", !well);
}

document.addEventListener("htmx:after:request", (event) => say(event.detail.ctx.response.status < 400));
document.addEventListener("htmx:error", () => say(false));
