"""Where things stand on the live view, and at which sizes of the terminal."""

ROOMY = (150, 30)
TALL = 44
SHORT = 30
"""Below that height the head names two troubles only."""

CSS = """
Screen { layers: base; }
#head { height: auto; max-height: 14; }
#panes { height: 1fr; layout: vertical; }
Section { height: auto; layout: vertical; }
Section .title { height: 1; background: $surface; }
Section DataTable { display: none; height: 1fr; }
Section.chosen { height: 1fr; }
Section.chosen DataTable { display: block; }
Section.chosen .title { text-style: reverse; }
#panes.tall Section, #panes.roomy Section { height: 1fr; }
#panes.tall DataTable, #panes.roomy DataTable { display: block; }
#panes.roomy { layout: grid; grid-size: 2 2; grid-gutter: 0 2; }
#said { height: auto; max-height: 3; }
#filter { display: none; height: 1; border: none; }
#filter.shown { display: block; }
"""
