// Where the picture is shown: zoom, and one pen for mouse, touch, stylus and keyboard. Points are in the photograph's pixels.

const MOST = 40; // screen pixels of a photograph's pixel

export class Stage {
  // `pen` has down(point), move(point), up(), hover(point) and cancel(); `canMove()` says whether the pen moves the picture.
  constructor(element, paper, pen, canMove) {
    Object.assign(this, { element, paper, pen, canMove });
    this.pointers = new Map();
    this.scale = 1;
    this.offset = { x: 0, y: 0 };
    this.cursor = null; // the keyboard's pen
    this.drawing = false;
    element.addEventListener("pointerdown", (event) => this.pressed(event));
    element.addEventListener("pointermove", (event) => this.moved(event));
    for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, (event) => this.released(event));
    element.addEventListener("pointerleave", () => this.pen.hover(null));
    element.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    element.addEventListener("blur", () => this.lift());
    new ResizeObserver(() => this.width && this.fit()).observe(element);
  }

  open(width, height) {
    [this.width, this.height] = [width, height];
    this.paper.hidden = false;
    this.paper.style.width = `${width}px`;
    this.paper.style.height = `${height}px`;
    this.cursor = { x: width / 2, y: height / 2 };
    this.fit();
  }

  fit() {
    const room = this.element.getBoundingClientRect();
    this.scale = Math.min((room.width - 32) / this.width, (room.height - 32) / this.height, MOST);
    this.offset = { x: (room.width - this.width * this.scale) / 2, y: (room.height - this.height * this.scale) / 2 };
    this.place();
  }

  place() {
    this.paper.style.transform = `translate(${this.offset.x}px, ${this.offset.y}px) scale(${this.scale})`;
    this.paper.style.setProperty("--pixel", `${1 / this.scale}px`);
  }

  // Zoom around a place of the screen; by default the middle.
  zoom(factor, place = null) {
    const room = this.element.getBoundingClientRect();
    const at = place ?? { x: room.width / 2, y: room.height / 2 };
    const scale = Math.min(MOST, Math.max(0.02, this.scale * factor));
    for (const axis of ["x", "y"]) this.offset[axis] = at[axis] - ((at[axis] - this.offset[axis]) * scale) / this.scale;
    this.scale = scale;
    this.place();
  }

  screen(event) {
    const room = this.element.getBoundingClientRect();
    return { x: event.clientX - room.left, y: event.clientY - room.top };
  }

  point(place) {
    return { x: (place.x - this.offset.x) / this.scale, y: (place.y - this.offset.y) / this.scale };
  }

  placeOf(point) {
    return { x: point.x * this.scale + this.offset.x, y: point.y * this.scale + this.offset.y };
  }

  pressed(event) {
    if (!this.width || (event.pointerType === "mouse" && event.button > 1)) return;
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.screen(event));
    if (this.pointers.size === 2 && this.drawing) {
      this.drawing = false; // the second finger: the first one did not mean to draw
      this.pen.cancel();
    } else if (this.pointers.size === 1 && !this.canMove() && event.button === 0) {
      this.drawing = true;
      this.pen.down(this.point(this.screen(event)));
    }
  }

  moved(event) {
    if (!this.width) return;
    const now = this.screen(event), before = this.pointers.get(event.pointerId);
    this.pen.hover(event.pointerType === "touch" ? null : this.point(now));
    if (!before) return;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      this.zoom(distance(now, other) / Math.max(1, distance(before, other)), other);
    } else if (this.drawing) {
      for (const step of event.getCoalescedEvents?.() ?? []) this.pen.move(this.point(this.screen(step)));
      this.pen.move(this.point(now));
    } else {
      this.offset.x += now.x - before.x;
      this.offset.y += now.y - before.y;
      this.place();
    }
    this.pointers.set(event.pointerId, now);
  }

  released(event) {
    this.pointers.delete(event.pointerId);
    if (this.drawing) this.pen.up();
    this.drawing = false;
  }

  wheeled(event) {
    event.preventDefault();
    if (this.width) this.zoom(Math.exp(-event.deltaY * 0.0015), this.screen(event));
  }

  // Arrows move the keyboard's pen by `step` pixels; returns whether the key was one of the pen's.
  key(event, step) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === " ") {
      if (this.drawing) this.lift();
      else {
        this.drawing = true;
        this.pen.down(this.cursor);
      }
    } else if (moves[event.key]) {
      const [x, y] = moves[event.key].map((way) => way * step * (event.shiftKey ? 10 : 1));
      this.cursor = {
        x: Math.min(this.width, Math.max(0, this.cursor.x + x)),
        y: Math.min(this.height, Math.max(0, this.cursor.y + y)),
      };
      if (this.drawing) this.pen.move(this.cursor);
    } else return false;
    this.pen.hover(this.cursor);
    return true;
  }

  lift() {
    if (this.drawing) this.pen.up();
    this.drawing = false;
  }
}

function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
