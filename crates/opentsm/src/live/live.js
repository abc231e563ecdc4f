// Puts the changed part of the page in place, and leaves the reader where they were.
"use strict";

const content = document.getElementById("content");
const status = document.getElementById("status");

function replace(text) {
    const focused = document.activeElement && content.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Map();
    content.querySelectorAll("details[id]").forEach((part) => open.set(part.id, part.open));
    const typed = [...content.querySelectorAll("input[id]")].map((part) => [part.id, part.value]);
    const scrolled = [...content.querySelectorAll(".scroll")].map((part) => [part.scrollTop, part.scrollLeft]);
    content.innerHTML = text;
    typed.forEach(([id, value]) => {
        const part = document.getElementById(id);
        if (part) part.value = value;
    });
    open.forEach((was, id) => {
        const part = document.getElementById(id);
        if (part) part.open = was;
    });
    content.querySelectorAll(".scroll").forEach((part, index) => {
        [part.scrollTop, part.scrollLeft] = scrolled[index] || [0, 0];
    });
    const again = focused && document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
}

function say(word) {
    if (status.textContent !== word) status.textContent = word;
}

const events = new EventSource(content.dataset.events);
content.dataset.updates = "on";
events.addEventListener("open", () => say(status.dataset.live));
events.addEventListener("error", () => say(status.dataset.lost));
events.addEventListener("content", (event) => {
    // Selected text stays selected: the next change comes soon.
    if (!document.getSelection() || document.getSelection().isCollapsed) replace(event.data);
});
