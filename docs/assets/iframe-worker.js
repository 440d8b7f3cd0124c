// Search without a server: a page opened from a folder may not start a worker, so a hidden frame does its work.
(function () {
  "use strict";
  if (location.protocol !== "file:") return;

  class FrameWorker extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "search";
      const attach = () => {
        document.body.appendChild(this.frame);
        this.inside = this.frame.contentWindow;
        this.inside.__reply = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        this.inside.document.open();
        this.inside.document.write(
          "<!doctype html><script>(" + prepare + ")()</" + "script>" +
          '<script src="' + String(address).replace(/"/g, "%22") + '"></' + "script>"
        );
        this.inside.document.close();
        this.frame.addEventListener("load", () => this.flush());
        if (this.inside.document.readyState === "complete") this.flush();
      };
      if (document.body) attach();
      else document.addEventListener("DOMContentLoaded", attach);
    }

    flush() {
      this.ready = true;
      for (const data of this.waiting.splice(0)) this.deliver(data);
    }

    deliver(data) {
      const event = new this.inside.MessageEvent("message", { data });
      this.inside.dispatchEvent(event);
    }

    postMessage(data) {
      if (this.ready) this.deliver(data);
      else this.waiting.push(data);
    }

    terminate() {
      this.frame.remove();
    }
  }

  // Runs inside the frame: what a worker's global scope has and a window's has not.
  function prepare() {
    window.postMessage = function (data) {
      window.__reply(data);
    };
  }

  window.Worker = FrameWorker;
})();
