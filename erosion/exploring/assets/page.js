// Says so where the session behind the page has ended; Ctrl-Enter asks.
const send = window.fetch;
window.fetch = async (...all) => {
  try {
    const answer = await send(...all);
    document.body.classList.remove("ended");
    return answer;
  } catch (error) {
    if (error.name !== "AbortError") document.body.classList.add("ended");
    throw error;
  }
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const field = document.activeElement;
    field.blur(); // what was typed is taken up first
    document.getElementById("ask")?.click();
    field.focus();
  }
});
