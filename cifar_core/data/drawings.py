"""The figures of the built-in images, one function a class: shape, pose, colours and parts differ at each call.

A figure spans about -1 to 1 around the canvas's middle; those seen from the side look to the right, and those that
stand have the ground at about 0.75. Each colour list serves several classes, so that colour alone tells little.
"""

from collections.abc import Sequence

from cifar_core.data.canvas import Canvas, Colour, palette, tint

BLACK, WHITE, DARK, LAMP, RED, TONGUE = palette("121216 f0f0ec 28282e faf5d2 be1919 d75a64")
GLASS = palette("3c5064 96b9cd 232832 c8d7dc")
PAINTS = palette("be2323 2346a0 ebebe8 282a30 969ba0 d7b432 327346 78aacd c86428")
METALS = palette("ebebeb bec3c8 78808a d7d7cd 465055 c83c32 3c5aa0")
COATS = palette("232022 6e6c6c e1dcd2 784e2d b98c5a cd7d37 553726")
FAWNS = palette("96643a 784e2d af7d4b 6e5f50 b98c5a 553726")
FEATHERS = palette("78553c 37373c e6e4dc 3c6eb4 be3c2d d7b43c 6e825a a0968c")
SKINS = palette("4b8c32 64a03c 3c5f2d 82783c 6e5032 b4aa32 a04628")
SIDES = (-1, 1)


# ------------------------------------------------------------------------------------------------- vehicles


def _wheels(c: Canvas, places: Sequence[float], y: float, radius: float) -> None:
    hub = c.pick(METALS)
    for x in places:
        c.oval(BLACK, x, y, radius, radius)
        c.oval(hub, x, y, radius * 0.5, radius * 0.5)


def _airplane_beside(c: Canvas, paint: Colour, accent: Colour, sweep: float, slim: float) -> None:
    dark = tint(paint, 0.7)
    c.shape(dark, ((0.1, -0.05), (-0.2 - sweep, -0.42), (-0.4 - sweep, -0.42), (-0.3, -0.05)))
    c.shape(accent, ((-0.62, -0.05), (-0.85, -0.5), (-1.02, -0.5), (-0.95, 0)))
    c.stroke(paint, ((-0.95, -0.05), (-0.4, 0), (0.4, 0), (0.8, 0)), 0.03, slim)
    c.stroke(paint, ((-0.6, -0.01), (0.7, 0)), slim)
    c.oval(paint, 0.7, 0.02, 0.28, slim)
    c.stroke(accent, ((0.75, 0.3 * slim), (-0.9, -0.04)), 0.02)
    c.stroke(DARK, ((0.6, -0.3 * slim), (-0.5, -0.3 * slim)), 0.025)
    c.shape(DARK, ((0.9, -0.04), (0.78, -0.8 * slim), (0.7, -0.04)))
    c.oval(dark, 0.15 - sweep / 2, 0.27, 0.15, 0.07)
    c.shape(tint(paint, 0.85), ((0.25, 0.05), (-0.1 - sweep, 0.5), (-0.3 - sweep, 0.5), (-0.15, 0.05)))
    c.shape(dark, ((-0.7, -0.05), (-0.95, 0.12), (-1.08, 0.12), (-0.92, -0.05)))


def airplane(c: Canvas) -> None:
    """Draw an airliner, from the side or from above."""
    paint, accent = c.pick(METALS), c.pick(PAINTS)
    sweep, slim, span = c.between(0.15, 0.5), c.between(0.1, 0.16), c.between(0.75, 1.0)
    if c.chance(0.5):
        return _airplane_beside(c, paint, accent, sweep, slim)
    dark = tint(paint, 0.7)
    c.both(dark, ((0, -0.25), (span, sweep), (span, sweep + 0.12), (0, 0.22)))
    c.both(dark, ((0, 0.62), (0.36, 0.8), (0.36, 0.9), (0, 0.85)))
    for side in SIDES:
        c.oval(accent, side * 0.36, 0.1 + 0.3 * sweep, 0.06, 0.14)
    c.both(paint, ((0, -1), (0.7 * slim, -0.9), (slim, -0.7), (slim, 0.4), (0.03, 0.95)))
    c.both(DARK, ((0, -0.9), (0.6 * slim, -0.78), (0, -0.72)))
    c.box(accent, -0.03, 0.6, 0.03, 0.95)
    return None


def _front(c: Canvas, paint: Colour, glass: Colour, wide: float) -> None:
    rear = c.chance(0.4)
    for side in SIDES:
        c.box(BLACK, side * wide, 0.3, side * (wide - 0.22), 0.68)
    c.both(tint(paint, 0.9), ((0.7 * wide, -0.5), (wide, 0)))
    c.both(glass, ((0.62 * wide, -0.43), (0.85 * wide, -0.04)))
    c.both(paint, ((wide, -0.04), (1.06 * wide, 0.15), (wide, 0.52)))
    c.box(tint(paint, 0.65) if rear else DARK, -0.45 * wide, 0.18, 0.45 * wide, 0.34)
    for side in SIDES:
        c.oval(RED if rear else LAMP, side * 0.75 * wide, 0.16, 0.13, 0.08)
    c.box(WHITE, -0.16, 0.38, 0.16, 0.47)


def automobile(c: Canvas) -> None:
    """Draw a car from the side (saloon, hatchback or estate, by where its roof ends), the front or behind."""
    paint, glass = c.pick(PAINTS), c.pick(GLASS)
    if c.chance(0.35):
        return _front(c, paint, glass, c.between(0.62, 0.78))
    dark = tint(paint, 0.65)
    roof, front, back = c.between(-0.52, -0.36), c.between(0.1, 0.3), c.between(-0.85, -0.35)
    middle, nose, panes = (front + back) / 2, c.between(0.0, 0.1), roof + 0.07
    c.shape(tint(paint, 0.9), ((front + 0.3, 0), (front, roof), (back, roof), (back - 0.2, 0)))
    c.shape(glass, ((front + 0.2, -0.03), (front - 0.03, panes), (back + 0.05, panes), (back - 0.08, -0.03)))
    c.box(paint, middle - 0.03, roof + 0.05, middle + 0.03, 0)
    c.shape(paint, ((0.9, nose), (front + 0.25, -0.06), (back - 0.25, -0.06), (-0.98, 0.02), (-1, 0.3), (1, 0.3)))
    c.box(dark, -0.98, 0.24, 0.99, 0.32)
    c.stroke(dark, ((middle, 0), (middle, 0.28)), 0.012)
    c.oval(LAMP, 0.92, 0.13 + nose, 0.06, 0.05)
    c.oval(RED, -0.96, 0.1, 0.04, 0.06)
    return _wheels(c, (-0.58, 0.6), 0.32, c.between(0.18, 0.23))


def _truck_ahead(c: Canvas, paint: Colour, glass: Colour, load: Colour) -> None:
    wide, top = c.between(0.55, 0.7), c.between(-1.05, -0.8)
    for side in SIDES:
        c.box(BLACK, side * wide, 0.5, side * (wide - 0.24), 0.88)
        c.box(DARK, side * (wide + 0.05), -0.45, side * (wide + 0.15), -0.1)
    c.box(load, -1.05 * wide, top, 1.05 * wide, 0.5)
    c.box(paint, -wide, -0.6, wide, 0.65)
    c.box(glass, -0.86 * wide, -0.5, 0.86 * wide, -0.08)
    c.box(DARK, -0.5 * wide, 0.08, 0.5 * wide, 0.42)
    for side in SIDES:
        c.oval(LAMP, side * 0.76 * wide, 0.38, 0.1, 0.1)


def truck(c: Canvas) -> None:
    """Draw a lorry from the front, or from the side with a box, a tank, a heaped tipper or an open bed."""
    paint, glass, load = c.pick(PAINTS), c.pick(GLASS), c.pick(PAINTS + METALS)
    if c.chance(0.25):
        return _truck_ahead(c, paint, glass, load)
    cab, roof, top, kind = c.between(0.42, 0.6), c.between(-0.5, -0.3), c.between(-0.75, -0.5), c.rng.random()
    c.box(DARK, -1, 0.22, 0.95, 0.36)
    if kind < 0.5:
        c.box(load, -1, top, cab - 0.06, 0.26)
        c.box(tint(load, 0.8), -1, 0.1, cab - 0.06, 0.26)
        c.stroke(tint(load, 0.7), ((-0.95, top + 0.25), (cab - 0.1, top + 0.25)), 0.04)
    elif kind < 0.65:
        c.ball(load, (cab - 1.08) / 2, -0.08, (cab + 0.95) / 2, 0.3)
    elif kind < 0.85:
        c.oval((110, 90, 60), -0.3, -0.22, 0.6, 0.2)
        c.shape(load, ((-1.05, -0.3), (cab - 0.08, -0.24), (cab - 0.2, 0.24), (-0.9, 0.24)))
    else:
        c.box(load, -1, -0.06, cab - 0.08, 0.26)
    c.shape(paint, ((cab, roof), (cab + 0.28, roof), (cab + 0.38, -0.05), (1, 0.0), (1, 0.34), (cab, 0.34)))
    panes, edge = roof + 0.07, cab + 0.07
    c.shape(glass, ((edge, panes), (cab + 0.25, panes), (cab + 0.33, -0.06), (edge, -0.06)))
    c.box(tint(paint, 0.65), cab, 0.26, 1, 0.36)
    c.oval(LAMP, 0.96, 0.14, 0.05, 0.05)
    return _wheels(c, (-0.78, -0.42, 0.72) if c.chance(0.6) else (-0.62, 0.7), 0.38, c.between(0.15, 0.19))


def ship(c: Canvas) -> None:
    """Draw a sailing boat, a freighter or a liner, mostly with some water before it."""
    hull, upper, accent = c.pick(PAINTS), c.pick((WHITE, WHITE, (200, 200, 190))), c.pick(PAINTS)
    kind, deck, bow = c.rng.random(), c.between(0.1, 0.2), 1.0
    if kind < 0.3:
        bow = 0.85
        c.stroke(DARK, ((0, 0.2), (0, -0.98)), 0.025)
        c.shape(upper, ((-0.05, -0.95), (-0.05, 0.06), (-c.between(0.5, 0.75), 0.06)))
        c.shape(tint(accent, 1.2), ((0.05, -0.85), (0.05, 0.05), (c.between(0.45, 0.75), 0.05)))
    elif kind < 0.65:
        for stack in range(5):
            c.box(c.pick(PAINTS), 0.23 * stack - 0.45, deck - c.between(0.1, 0.35), 0.23 * stack - 0.24, deck)
        c.box(upper, -0.85, deck - 0.55, -0.52, deck + 0.02)
        c.stroke(DARK, ((-0.82, deck - 0.45), (-0.55, deck - 0.45)), 0.035)
        c.box(accent, -0.78, deck - 0.75, -0.64, deck - 0.55)
    else:
        for x in (-0.35, 0.0):
            c.shape(accent, ((x, deck - 0.2), (x - 0.04, deck - 0.7), (x + 0.14, deck - 0.7), (x + 0.18, deck - 0.2)))
        for level in range(2 + c.chance(0.5)):
            stern, stem, y = 0.12 * level - 0.75, 0.6 - 0.2 * level, deck - 0.17 * level
            c.box(upper, stern, y - 0.17, stem, y + 0.02)
            c.stroke(GLASS[0], ((stern + 0.07, y - 0.08), (stem - 0.08, y - 0.08)), 0.025)
    c.shape(hull, ((-0.95 * bow, deck), (1.02 * bow, deck - 0.08), (0.75 * bow, 0.5), (-0.85 * bow, 0.5)))
    c.stroke(tint(hull, 0.6), ((-0.84 * bow, 0.45), (0.77 * bow, 0.45)), 0.05)
    if c.chance(0.8):
        water = c.pick(((225, 235, 240), (90, 130, 160), (60, 100, 130)))
        c.stroke(water, ((-1.1, 0.5), (-0.55, 0.54), (0, 0.49), (0.55, 0.54), (1.1, 0.5)), 0.06)


# -------------------------------------------------------------------------------------------------- animals


def _eyes(c: Canvas, x: float, y: float, apart: float, radius: float, iris: Colour) -> None:
    for side in SIDES:
        c.oval(iris, x + side * apart, y, radius, radius)
        c.oval(BLACK, x + side * apart, y, 0.6 * radius, 0.8 * radius)


def _body(c: Canvas, coat: Colour, leg: float, thick: float, depth: float, head: tuple[float, float]) -> None:
    """Draw trunk, neck and four legs of an animal that stands or walks; far legs are darker."""
    stride, ground = c.between(-0.22, 0.22), depth + leg
    for colour, swing, shift in ((tint(coat, 0.7), -stride, 0.08), (coat, stride, 0)):
        for hip, reach in ((-0.5 + shift, swing), (0.4 + shift, -swing)):
            leg_line = ((hip, depth * 0.2), (hip + 0.7 * reach, depth + leg * 0.35), (hip + reach, ground))
            c.stroke(colour, leg_line, 1.8 * thick, thick)
    c.stroke(coat, ((0.3, 0.05), (0.55, head[1] / 2), head), 0.8 * depth, 0.45 * depth)
    c.ball(coat, -0.04, 0, 0.66, depth)
    c.oval(coat, -0.45, 0, 0.25, depth)


def _sitting(c: Canvas, coat: Colour, wide: float) -> None:
    c.ball(coat, 0, 0.4, 0.42, 0.55)
    for side in SIDES:
        c.stroke(tint(coat, 0.9), ((side * wide, 0.2), (side * wide, 0.9)), 0.09)


def _cat_face(c: Canvas, coat: Colour, x: float, y: float, r: float) -> None:
    for side in SIDES:
        ear, inner = x + side * r, x + side * 0.9 * r
        c.shape(tint(coat, 0.85), ((ear, y - 1.35 * r), (ear, y - 0.1 * r), (x + side * 0.2 * r, y - 0.8 * r)))
        c.shape((215, 150, 145), ((inner, y - 1.1 * r), (inner, y - 0.4 * r), (x + side * 0.42 * r, y - 0.75 * r)))
    c.ball(coat, x, y, 1.05 * r, 0.9 * r)
    if c.chance(0.5):  # a tabby
        for shift in (-0.25 * r, 0, 0.25 * r):
            c.stroke(tint(coat, 0.5), ((x + shift, y - 0.8 * r), (x + 0.8 * shift, y - 0.4 * r)), 0.07 * r)
    _eyes(c, x, y - 0.1 * r, 0.42 * r, 0.19 * r, c.pick(((200, 190, 60), (110, 180, 90), (120, 170, 210))))
    c.oval(tint(coat, 1.4), x, y + 0.42 * r, 0.36 * r, 0.24 * r)
    c.shape((200, 110, 110), ((x - 0.12 * r, y + 0.22 * r), (x + 0.12 * r, y + 0.22 * r), (x, y + 0.38 * r)))
    for end in (-1.3 * r, 1.3 * r):
        for drop in (0.3 * r, 0.55 * r):
            c.stroke(WHITE, ((x + end / 4, y + 0.4 * r), (x + end, y + drop)), 0.025 * r + 0.006)


def cat(c: Canvas) -> None:
    """Draw a cat: walking with its tail up, sitting, or its face."""
    coat, kind = c.pick(COATS), c.rng.random()
    if kind < 0.4:
        head = 0.72, c.between(-0.4, -0.2)
        c.stroke(coat, ((-0.6, -0.1), (-0.85, -0.35), (-0.8, -0.7), (-0.95, -0.9)), 0.07, 0.05)
        _body(c, coat, c.between(0.28, 0.4), 0.06, 0.27, head)
        _cat_face(c, coat, *head, 0.27)
    elif kind < 0.7:
        tip = (c.between(0.5, 0.95), 0.2)
        c.stroke(tint(coat, 0.85), ((0.3, 0.75), (0.65, 0.7), (0.75, 0.4), tip), 0.08, 0.05)
        _sitting(c, coat, 0.15)
        _cat_face(c, coat, 0, -0.45, 0.36)
    else:
        _cat_face(c, coat, 0, 0.1, 0.72)


def _dog_face(c: Canvas, coat: Colour, ear: Colour, y: float, r: float) -> None:
    c.ball(coat, 0, y, 0.8 * r, 0.95 * r)
    for side in SIDES:
        c.oval(ear, side * 0.85 * r, y + 0.05 * r, 0.25 * r, 0.72 * r, -side * 0.2)
    _eyes(c, 0, y - 0.2 * r, 0.36 * r, 0.12 * r, (60, 40, 25))
    c.ball(tint(coat, 1.35), 0, y + 0.45 * r, 0.5 * r, 0.42 * r)
    c.oval(BLACK, 0, y + 0.25 * r, 0.2 * r, 0.15 * r)
    c.stroke(BLACK, ((0, y + 0.3 * r), (0, y + 0.6 * r)), 0.03 * r)
    if c.chance(0.5):
        c.oval(TONGUE, 0, y + 0.8 * r, 0.16 * r, 0.25 * r)


def dog(c: Canvas) -> None:
    """Draw a dog: from the side, sitting, or its face."""
    coat, kind = c.pick(COATS), c.rng.random()
    ear = tint(coat, 0.65) if c.chance(0.7) else c.pick(COATS)
    if kind > 0.8:
        return _dog_face(c, coat, ear, 0, 0.72)
    if kind > 0.6:
        _sitting(c, coat, 0.19)
        c.oval(tint(coat, 1.3), 0, 0.35, 0.18, 0.35)
        return _dog_face(c, coat, ear, -0.42, 0.36)
    x, y = 0.68, c.between(-0.5, -0.25)
    c.stroke(coat, ((-0.6, -0.1), (-0.88, -0.3), (-0.98, c.between(-0.7, -0.1))), 0.07, 0.04)
    _body(c, coat, c.between(0.3, 0.55), 0.075, c.between(0.24, 0.31), (x, y))
    if c.chance(0.4):
        c.oval(ear, -0.15, -0.08, 0.25, 0.15)
    c.ball(coat, x, y, 0.25, 0.22)
    c.stroke(coat, ((x + 0.1, y + 0.05), (x + 0.4, y + 0.1)), 0.14, 0.1)
    c.oval(BLACK, x + 0.41, y + 0.04, 0.06, 0.055)
    c.oval(BLACK, x + 0.12, y - 0.06, 0.04, 0.04)
    c.oval(ear, x - 0.12, y + 0.1, 0.1, 0.24, 0.25)
    if c.chance(0.4):
        c.oval(TONGUE, x + 0.3, y + 0.25, 0.05, 0.1)
    return None


def deer(c: Canvas) -> None:
    """Draw a stag with antlers, a hind or a spotted fawn: slender, with a short pale tail."""
    coat, horn = c.pick(FAWNS), c.pick(((190, 165, 125), (120, 95, 65)))
    x, y = c.between(0.55, 0.68), c.between(-0.65, -0.5)
    _body(c, coat, c.between(0.55, 0.68), 0.035, 0.22, (x, y))
    c.oval(tint(coat, 1.6), -0.66, -0.02, 0.08, 0.12)
    if c.chance(0.35):
        for spot in range(6):
            c.oval(tint(coat, 1.6), -0.45 + 0.16 * spot, -0.1 + 0.07 * (spot % 3), 0.04, 0.035)
    c.oval(tint(coat, 0.8), x - 0.18, y - 0.1, 0.16, 0.06, 0.5)
    if c.chance(0.8):
        for lean in (-0.22, 0.16):
            c.stroke(horn, ((x, y - 0.08), (x + lean, y - 0.25), (x + 1.7 * lean, y - 0.5)), 0.04, 0.03)
            for up in (0.2, 0.34):
                root = x + 2.6 * lean * up
                c.stroke(horn, ((root, y - up), (root + 0.17, y - up - 0.13)), 0.032, 0.025)
    c.stroke(coat, ((x - 0.06, y - 0.03), (x + 0.36, y + 0.16)), 0.13, 0.06)
    c.oval(BLACK, x + 0.36, y + 0.15, 0.045, 0.045)
    c.oval(BLACK, x + 0.08, y - 0.01, 0.035, 0.035)


def horse(c: Canvas) -> None:
    """Draw a horse with a mane and a long tail, at times saddled."""
    coat, mane = c.pick(COATS), c.pick(((30, 26, 26), (225, 210, 170), (70, 45, 30)))
    x, y = c.between(0.62, 0.76), c.between(-0.65, -0.4)
    c.stroke(mane, ((-0.6, -0.15), (-0.82, 0), (-0.86, c.between(0.35, 0.65))), 0.06, 0.09)
    _body(c, coat, c.between(0.5, 0.6), 0.055, 0.28, (x, y))
    c.stroke(mane, ((x - 0.02, y - 0.16), (x - 0.3, y / 2), (x - 0.45, -0.12)), 0.08, 0.07)
    c.shape(coat, ((x - 0.1, y - 0.1), (x - 0.02, y - 0.3), (x + 0.06, y - 0.1)))
    c.stroke(coat, ((x - 0.06, y - 0.06), (x + 0.3, y + 0.26)), 0.15, 0.1)
    c.oval(tint(coat, 0.6), x + 0.3, y + 0.25, 0.09, 0.09)
    c.oval(BLACK, x + 0.05, y - 0.03, 0.03, 0.03)
    if c.chance(0.25):
        c.shape(c.pick(PAINTS), ((-0.25, -0.3), (0.12, -0.3), (0.08, 0.08), (-0.2, 0.08)))


def _flying(c: Canvas, plumage: Colour, wing: Colour, beak: Colour) -> None:
    lift, span = c.between(0.5, 0.85) * (-1 if c.chance(0.75) else 0.8), c.between(0.5, 0.8)
    c.shape(tint(wing, 0.75), ((0.3, 0), (0.3 + 0.4 * span, lift), (0.1, 0.8 * lift), (-0.25, 0)))
    c.shape(tint(plumage, 0.8), ((-0.4, 0), (-0.98, -0.12), (-0.9, 0.18)))
    c.ball(plumage, 0, 0.03, 0.5, 0.2)
    c.ball(plumage, 0.5, -0.07, 0.2, 0.18)
    c.shape(beak, ((0.64, -0.14), (0.92, -0.02), (0.64, 0.03)))
    c.oval(BLACK, 0.56, -0.1, 0.045, 0.045)
    c.shape(wing, ((0.25, 0.02), (-0.15, 0.9 * lift), (-0.3 - span, lift), (-0.6, 0.45 * lift), (-0.3, 0.08)))


def bird(c: Canvas) -> None:
    """Draw a bird: in flight, perched, or tall as a heron."""
    plumage, wing, breast = c.pick(FEATHERS), c.pick(FEATHERS), c.pick(FEATHERS)
    beak, kind = c.pick(((225, 160, 40), (60, 55, 50), (215, 90, 40))), c.rng.random()
    if kind < 0.35:
        return _flying(c, plumage, wing, beak)
    leg, top = (c.between(0.1, 0.3), -0.5) if kind < 0.8 else (c.between(0.4, 0.55), -0.8)
    for x in (-0.1, 0.08):
        c.stroke(beak, ((x, 0.2), (x - 0.03, 0.35 + leg), (x + 0.1, 0.37 + leg)), 0.025)
    c.shape(tint(wing, 0.8), ((-0.3, -0.05), (-1, 0.25), (-0.9, 0.42), (-0.25, 0.25)))
    c.ball(plumage, 0, 0.05, 0.5, 0.33, -0.35)
    c.oval(breast, 0.2, 0.1, 0.24, 0.2, -0.6)
    c.stroke(plumage, ((0.25, 0), (0.42, top / 2), (0.42, top)), 0.2, 0.12)
    c.ball(plumage, 0.43, top, 0.22, 0.2)
    c.shape(beak, ((0.6, top - 0.09), (0.92, top + c.between(-0.02, 0.08)), (0.6, top + 0.08)))
    c.oval(WHITE, 0.48, top - 0.04, 0.06, 0.06)
    c.oval(BLACK, 0.49, top - 0.04, 0.04, 0.04)
    c.oval(wing, -0.15, 0.06, 0.4, 0.18, -0.3)
    return None


def _frog_beside(c: Canvas, skin: Colour, dark: Colour, belly: Colour, iris: Colour) -> None:
    c.stroke(dark, ((-0.2, 0.35), (0.0, 0.62), (0.3, 0.62)), 0.07, 0.04)
    c.ball(skin, -0.15, 0.12, 0.68, 0.4, -0.4)
    c.oval(belly, 0.35, 0.22, 0.3, 0.2, -0.2)
    c.ball(skin, 0.45, -0.12, 0.42, 0.27)
    c.stroke(dark, ((0.25, 0.0), (0.86, 0.0)), 0.025)
    c.stroke(skin, ((0.2, 0.25), (0.42, 0.45), (0.35, 0.64), (0.62, 0.66)), 0.1, 0.04)
    c.ball(skin, -0.48, 0.3, 0.38, 0.24, -0.5)
    c.stroke(skin, ((-0.75, 0.45), (-0.3, 0.6), (-0.62, 0.68), (0.02, 0.7)), 0.09, 0.05)
    c.ball(skin, 0.42, -0.36, 0.17, 0.17)
    c.oval(iris, 0.46, -0.37, 0.11, 0.11)
    c.oval(BLACK, 0.48, -0.37, 0.07, 0.05)


def frog(c: Canvas) -> None:
    """Draw a frog from the side, from the front or from above: folded legs, eyes on top."""
    skin, iris, kind = c.pick(SKINS), c.pick(((220, 180, 50), (200, 70, 40), (230, 220, 150))), c.rng.random()
    dark, belly = tint(skin, 0.7), c.pick(((215, 210, 160), (190, 200, 130), (230, 225, 200)))
    if kind < 0.4:
        return _frog_beside(c, skin, dark, belly, iris)
    for side in SIDES:
        hind = ((side * 0.3, 0.45), (side * 0.9, 0.15), (side * 0.62, 0.68), (side * 1.0, 0.74))
        c.stroke(dark, hind, 0.16, 0.06)
        c.stroke(skin, ((side * 0.3, 0.1), (side * 0.5, 0.45), (side * 0.4, 0.75)), 0.11, 0.05)
    if kind < 0.75:
        c.ball(skin, 0, 0.3, 0.5, 0.42)
        c.oval(belly, 0, 0.42, 0.34, 0.3)
        c.ball(skin, 0, -0.18, 0.6, 0.34)
        c.stroke(dark, ((-0.52, -0.12), (0, 0.02), (0.52, -0.12)), 0.03)
    else:
        c.ball(skin, 0, 0.2, 0.48, 0.6)
        for x, y in ((-0.2, 0.15), (0.18, 0.3), (-0.05, 0.5), (0.2, 0.65)):
            c.oval(dark, x, y, 0.09, 0.08)
        c.ball(skin, 0, -0.22, 0.55, 0.34)
    for side in SIDES:
        c.ball(skin, side * 0.38, -0.46, 0.2, 0.2)
        c.oval(iris, side * 0.38, -0.47, 0.13, 0.13)
        c.oval(BLACK, side * 0.38, -0.47, 0.1, 0.06)
    return None
