// What a first visit finds in its editors.

export const QUERY = `# Subscribe to what is committed in PostgreSQL.
#
# 1. Under "Headers" below, put a token in the
#    place of TOKEN. \`make demo\` prints one.
# 2. Press Ctrl-Enter. Each event that you may
#    see replaces the result on the right.
# 3. Docs (top left) lists all subscriptions.
#
# This one is for the shop of the demo.

subscription Orders {
  orderChanged {
    operation
    record {
      id
      status
      total
    }
    old {
      status
    }
    changedColumns
  }
}
`;

export const HEADERS = `{
  "authorization": "Bearer TOKEN"
}`;
