/* test: none */
/* libs: -lncursesw -ltinfo */
// A static ncurses program: windows, boxes, colours, keys. q ends it.
#include <curses.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

static void draw_colours(WINDOW *w) {
    box(w, 0, 0);
    mvwaddstr(w, 0, 2, " colours ");
    for (int i = 0; i < 8; i++) {
        wattrset(w, COLOR_PAIR(i + 1));
        mvwprintw(w, i + 1, 2, "colour %d ", i);
        wattrset(w, COLOR_PAIR(i + 1) | A_BOLD);
        waddstr(w, "bold ");
        wattrset(w, COLOR_PAIR(i + 1) | A_REVERSE);
        waddstr(w, "reverse");
    }
    wattrset(w, A_NORMAL);
    wnoutrefresh(w);
}

static void draw_lines(WINDOW *w) {
    box(w, 0, 0);
    mvwaddstr(w, 0, 2, " lines ");
    mvwhline(w, 4, 1, ACS_HLINE, 28);
    mvwaddch(w, 4, 0, ACS_LTEE);
    mvwaddch(w, 4, 29, ACS_RTEE);
    mvwvline(w, 1, 14, ACS_VLINE, 8);
    mvwaddch(w, 4, 14, ACS_PLUS);
    mvwaddch(w, 2, 4, ACS_DIAMOND);
    mvwaddch(w, 2, 6, ACS_CKBOARD);
    mvwaddch(w, 2, 8, ACS_DEGREE);
    mvwaddch(w, 2, 10, ACS_PLMINUS);
    wattron(w, A_UNDERLINE);
    mvwaddstr(w, 6, 2, "underline");
    wattroff(w, A_UNDERLINE);
    wnoutrefresh(w);
}

static void show_key(WINDOW *w, int key) {
    werase(w);
    box(w, 0, 0);
    const char *name = keyname(key);
    if (key == KEY_RESIZE)
        mvwprintw(w, 1, 2, "size: %d x %d", LINES, COLS);
    else
        mvwprintw(w, 1, 2, "key: %s (%d)", name ? name : "?", key);
    wnoutrefresh(w);
    doupdate();
}

int main(void) {
    setlocale(LC_ALL, "");
    if (!getenv("TERM"))
        setenv("TERM", "linux", 1);
    initscr();
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    if (has_colors()) {
        start_color();
        for (int i = 0; i < 8; i++)
            init_pair(i + 1, i, i == 0 ? COLOR_WHITE : COLOR_BLACK);
    }
    mvprintw(0, 0, "%s on %s, %d x %d; q quits", curses_version(), termname(), LINES, COLS);
    wnoutrefresh(stdscr);
    WINDOW *colours = newwin(10, 34, 2, 2), *lines = newwin(10, 30, 2, 40),
           *keys = newwin(3, 68, 14, 2);
    draw_colours(colours);
    draw_lines(lines);
    show_key(keys, ' ');
    int key;
    while ((key = getch()) != 'q')
        show_key(keys, key);
    endwin();
    return 0;
}
