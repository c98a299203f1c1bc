#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Content on its way out, beside Postfix: the same messages through the same tables to the same kind
# of server, byte for byte, and the same log lines. Where Gatepost does something else, the row says
# what and why. Python's email package reads what was converted.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sink;
use Gatepost::Smtp;
use Gatepost::Tables;
use MIME::Base64 qw(encode_base64);
use Test::More;

my @SEVEN = qw(PIPELINING SIZE DSN ENHANCEDSTATUSCODES);
my %sink = map { $_ => Gatepost::Sink->new(keywords => [@SEVEN]) } qw(gp postfix);
my $chunks = Gatepost::Sink->new(keywords => [qw(PIPELINING CHUNKING)]);
my $eight = Gatepost::Sink->new;    # has 8BITMIME and SMTPUTF8
my $lmtp = Gatepost::Sink->new(lmtp => 1, keywords => [@SEVEN]);
my %lmtp_sink = map { $_ => Gatepost::Sink->new(lmtp => 1, keywords => [@SEVEN]) } qw(gp postfix);

# ---- Tables ----
my $dir = tempdir('content');
chmod 0755, $dir;
sub regexp {
    my ($name, $text) = @_;
    spew("$dir/$name", $text);
    chmod 0644, "$dir/$name";
    return "regexp:$dir/$name";
}
my %checks = (
    smtp_header_checks => regexp('header', <<'END'),
/^X-Drop:/ IGNORE
/^X-Strip:/ STRIP stripped because
/^X-Info:/ INFO seen
/^X-Warn:/ WARN
/^X-Dunno:/ DUNNO
/^X-Swap: (.*)$/ REPLACE X-Swapped: $1
/^X-Top:/ PREPEND X-Above: it
/^X-Folded: a.*b$/ IGNORE
/^X-Bad:/ REPLACE no header
/^X-Wrong:/ REJECT go away
/^Content-Type:/ IGNORE
END
    smtp_mime_header_checks => regexp('mime', "/^Content-Disposition:/ IGNORE\n/^X-Part:/ REPLACE X-Parted: yes\n"
        . "/^(MIME-Version|Content-(Type|Transfer-Encoding|Description|ID)):/ INFO mime\n"),
    smtp_nested_header_checks => regexp('nested', "/^X-Inner:/ STRIP\n/^Subject:/ PREPEND X-Before: y\n"),
    smtp_body_checks => regexp('body', "/^drop/ IGNORE\n/^warn/ WARN body text\n/^replace (.*)/ REPLACE with \$1\n"
        . "/^top/ PREPEND above\n/^=C3=A4/ INFO encoded\n/^never this REPLACE/ REPLACE\n"),
);
my $generic = "$dir/generic";
spew($generic, "anna\@own.example anna.x\@far.test\n\@in.example \@out.example\nbert berta\@far.test\n"
    . "quoted\@own.example \"a b\"\@far.test\n");
chmod 0644, $generic;
my %both = (myhostname => 'own.example', mydomain => 'example', mydestination => 'own.example', recipient_delimiter => '+',
    smtp_tls_security_level => 'none', lmtp_tls_security_level => 'none', bounce_size_limit => 100_000);

# A service for each kind of work; which, says the recipient's domain.
my %services = (
    convert => {},
    check   => { %checks, disable_mime_output_conversion => 'yes' },
    map     => { %checks, smtp_generic_maps => "texthash:$generic" },
    nobody  => { smtp_body_checks => 'fail:no' },
    nowhere => { smtp_generic_maps => 'fail:no' },
);
sub service_lines {
    my ($program, $how) = @_;
    my $set = $services{map};
    my @lmtp = map { my $name = $_; $name =~ s/^smtp_/lmtp_/; "  -o { $name = " . $how->($set->{$_}) . ' }' } sort keys %$set;
    push @lmtp, '  -o lmtp_line_length_limit=40';
    return join("\n", 'lmtpmap unix - - n - - ' . ($program eq 'smtp' ? 'lmtp' : "$program -l"), @lmtp), map {
        my $set = $services{$_};
        join "\n", "$_ unix - - n - - $program", map {
            my $value = /_(checks|maps)$/ ? $how->($set->{$_}) : $set->{$_};
            "  -o { $_ = $value }"
        } sort keys %$set;
    } sort keys %services;
}
sub routes {
    my ($port, @more) = @_;
    return 'inline:{' . join(',', @more, "{client.test=convert:[127.0.0.1]:$port}", map {"{$_.test=$_:[127.0.0.1]:$port}"} sort keys %services) . '}';
}
my ($to_gp, $to_postfix) = map { $sink{$_}->port } qw(gp postfix);
my $lmtp_route = '{lmtpmap.test=lmtpmap:inet:127.0.0.1:%d}';
my $postfix = Gatepost::Peers->postfix(main => { %both, local_recipient_maps => '', default_transport => "map:[127.0.0.1]:$to_postfix",
    local_transport => "map:[127.0.0.1]:$to_postfix", transport_maps => routes($to_postfix, sprintf $lmtp_route, $lmtp_sink{postfix}->port) },
    services => [service_lines('smtp', sub { $_[0] })]);
my $gp = Gatepost::Instance->new(main => { %both, default_transport => "map:[127.0.0.1]:$to_gp",
    local_transport => "map:[127.0.0.1]:$to_gp", transport_maps => routes($to_gp, sprintf($lmtp_route, $lmtp_sink{gp}->port),
        '{chunks.test=map:[127.0.0.1]:' . $chunks->port . '}', '{eight.test=convert:[127.0.0.1]:' . $eight->port . '}', '{lmtp.test=lmtp:inet:127.0.0.1:' . $lmtp->port . '}') },
    master => [service_lines('smtp-client', \&table_name)]);
$gp->start;

# What both add on top is left out.
my $nr = 0;
sub through {
    my ($from, $to, $text, %arg) = @_;
    my $id = 'row' . ++$nr . '@test';
    $text = "X-Begin: $id\r\n$text";
    my %got;
    my $c = Gatepost::Smtp->new(port => $postfix->port) or die 'no Postfix';
    $c->hello;
    $c->mail($from, $to, $text, %arg)->{code} == 250 or diag 'Postfix refuses';
    $c->quit;
    $gp->mail($from, $to, $text, %arg)->{code} == 250 or diag 'Gatepost refuses';
    for my $who ('gp', 'postfix') {
        wait_until(30, sub { ($got{$who}) = grep { $_->{content} =~ /^X-Begin: \Q$id\E\r$/m } $sink{$who}->messages, $lmtp_sink{$who}->messages });
        $got{$who}{text} = $got{$who} ? $got{$who}{content} =~ s/\A.*?^X-Begin: [^\n]*\n//msr : "nothing came to $who";
    }
    return \%got;
}

# The log line of an action, without what differs: time, process, id.
sub actions {
    my ($log) = @_;
    return join '', map { /(?:smtp|lmtp)\[\d+\]: (?:warning: )?(?:[0-9A-Za-z]+: )?((?:info|warning|replace|prepend|strip|reject): .*|.* in smtp_\w+ map.*)/ ? "$1\n" : () }
        split /\n/, $log;
}

my $head = "From: <s\@client.test>\r\nTo: <r\@dest.test>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-Id: <1\@client.test>\r\n"
    . "Subject: x\r\nMIME-Version: 1.0\r\n";
my $umlaut = "gr\xc3\xbc\xc3\x9fe = \t \r\n\xc3\xa4 drop\r\n.dot\r\n..dots\r\n" . ("lang \xe9" x 60) . "\r\n" . ('x' x 73) . "\r\n" . ('y' x 76) . "\r\n";
my $label = "Content-Transfer-Encoding: 8bit\r\n";
# What is no text, and what is binary, becomes base64; as Postfix makes no difference, so do other parts say what they were.
my $bytes = join('', map { chr } grep { $_ != 10 && $_ != 13 } 1 .. 255) . "\r\n\r\n" . "\xff \t\r\n" x 40 . 'end';
my $file = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: %s\r\nContent-Disposition: attachment\r\n\r\n";
sub encoded { my ($data) = @_; return encode_base64($data, "\r\n") =~ s/\r\n\z//r }
sub in_base64 { my ($data) = @_; return sub { s/^Content-Transfer-Encoding: quoted-printable(\r\n\r\n).*\z/"Content-Transfer-Encoding: base64$1" . encode_base64($data, "\r\n")/msre } }
sub parts { my ($b, @parts) = @_; return join('', map {"--$b\r\n$_\r\n"} @parts) . "--$b--\r\n" }

# ---- Conversion ----
# what, the text behind the common head, what is done otherwise (undef: the same)
my @conversions = (
    ['text', "Content-Type: text/plain; charset=utf-8\r\n$label\r\n$umlaut"],
    ['no label', "\r\n$umlaut"],
    ['label before the type', "${label}Content-Type: text/plain\r\n\r\n$umlaut"],
    ['binary', "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: (as is) BINARY\r\n\r\n\x01\x7f\xff\r\n", 'in base64', in_base64("\x01\x7f\xff\r\n")],
    ['text that is binary', "Content-Transfer-Encoding: binary\r\n\r\ngr\xfcn\r\n" . 'x' x 900 . "\r\n", 'in base64', in_base64("gr\xfcn\r\n" . 'x' x 900 . "\r\n")],
    ['no text', "Content-Type: image/svg+xml\r\n$label\r\n<\xfc>\r\n", 'in base64', in_base64("<\xfc>\r\n")],
    ['attachments', "Content-Type: multipart/mixed; boundary=a\r\n\r\n" . parts('a', "Content-Type: text/plain\r\n$label\r\n\xc3\xbc\r\n",
        sprintf($file, 'binary') . $bytes, sprintf($file, '8bit') . $bytes . "\r\n", "Content-Type: text/html\r\n$label\r\n\xc3\xbc"),
        'what is no text in base64', sub {
            my @part = split /^--a(?:--)?\r\n/m, $_;
            s/\r\n\r\n.*/\r\n\r\n/s, s/^(Content-Transfer-Encoding: )quoted-printable/$1base64/m for @part[2, 3];
            $part[2] .= encoded($bytes) . "\r\n";
            $part[3] .= encoded("$bytes\r\n") . "\r\n";
            join("--a\r\n", @part) . "--a--\r\n";
        }],
    ['base64 stays', "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nw7w=\r\n\xff\r\n"],
    ['alternatives', "Content-Type: multipart/alternative; boundary=\"=_b\"\r\n$label\r\npre\xe9\r\n"
        . parts('=_b', "Content-Type: text/plain\r\n$label\r\n$umlaut", "Content-Type: text/html\r\n$label\r\n<p>\xc3\xbc</p>", "\r\nplain")
        . "post\r\n"],
    ['nested', "Content-Type: multipart/mixed; boundary=a\r\n$label\r\n" . parts('a', "Content-Type: multipart/related;\r\n\tboundary=b\r\n$label\r\n"
        . parts('b', "Content-Type: text/html\r\n$label\r\n\xc3\xa4", "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"),
        "Content-Type: message/rfc822\r\n$label\r\nSubject: in\r\nContent-Type: text/plain\r\n$label\r\n\xc3\xb6 in it")],
    ['signed', "Content-Type: multipart/signed; boundary=s\r\n$label\r\n" . parts('s', "Content-Type: text/plain\r\n$label\r\n\xc3\xa4", "Content-Type: "
        . "application/pgp-signature\r\n\r\nsignature")],
    ['digest', "Content-Type: multipart/digest; boundary=d\r\n$label\r\n" . parts('d', "\r\nSubject: one\r\n$label\r\n\xc3\xa4")],
    ['inner end missing', "Content-Type: multipart/mixed; boundary=a\r\n$label\r\n--a\r\nContent-Type: multipart/x; boundary=b\r\n$label\r\n--b\r\n$label\r\n\xe9\r\n"
        . "--a\r\n$label\r\n\xea\r\n--a--\r\n"],
    ['a label on a line of its own', "Content-Transfer-Encoding:\r\n 8bit\r\n\r\n\xe9\r\n"],
    ['8-bit headers', "Subject: gr\xc3\xbc\xc3\x9f\r\n\r\nplain\r\n"],
    ['empty', "$label\r\n\xe9"],
    ['a part without an empty line', "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n$label\xe9 text\r\n--a--\r\n",
        'a new label has an empty line behind it', sub { s/(quoted-printable\r\n)(=E9)/$1\r\n$2/r }],
    ['quoted boundary with blanks', "Content-Type: multipart/mixed; (comment)\r\n boundary=\"a \\\"b\"\r\n$label\r\n" . parts('a "b', "$label\r\n\xe9")],
    ['other messages', "Content-Type: multipart/report; boundary=a\r\n\r\n" . parts('a', "Content-Type: message/delivery-status\r\n$label\r\nX: \xe9"),
        'labelled as it is encoded', sub { s/7bit\r\n\r\nX: =E9/quoted-printable\r\n\r\nX: =E9/r }],
    ['ASCII with a label', "$label\r\nplain = text\r\n", 'what is 7 bit is not encoded', sub { s/quoted-printable/8bit/r =~ s/=3D/=/r }],
    ['long lines of 7 bit', "\r\n" . ('0123456789' x 250) . "\r\n" . ('x' x 998) . "\r\n" . ('y' x 999) . "\r\n\xe9\r\n"],
);
my @converted;
for my $row (@conversions) {
    my ($what, $text, $why, $change) = @$row;
    my $got = through('s@client.test', 'r@convert.test', $head . $text, mail => 'BODY=8BITMIME');
    my $want = $got->{postfix}{text};
    $want = $change->() for $change ? $want : ();
    is($got->{gp}{text}, $want, "conversion: $what" . ($why ? ", but $why" : ''));
    push @converted, [$what, $got->{gp}{path}, $head . $text];
}
is(($sink{gp}->messages)[0]{mail}, '<s@client.test>', 'SIZE is not said of what is converted');

# Python finds the text that was there before.
my $script = <<'END';
import email, sys
from email import policy
def leaves(path):
    m = email.message_from_bytes(open(path, 'rb').read(), policy=policy.compat32)
    return [p.get_payload(decode=True) for p in m.walk() if not p.is_multipart()]
a, b = leaves(sys.argv[1]), leaves(sys.argv[2])
norm = lambda x: x.replace(b'\r\n', b'\n').rstrip(b'\n')
print('same' if [norm(x) for x in a] == [norm(x) for x in b] else (a, b))
raw = open(sys.argv[1], 'rb').read()
END
spew("$dir/leaves.py", $script);
for my $row (@converted) {
    my ($what, $path, $text) = @$row;
    next if $what =~ /long lines|without an empty|other messages|quoted boundary/;    # what Python reads in another way
    spew("$dir/before.eml", $text);
    my ($status, $out) = run_out('/usr/bin/python3', "$dir/leaves.py", $path, "$dir/before.eml");
    is($out =~ s/\s+\z//r, 'same', "Python reads the same: $what");
}

# And an attachment byte by byte.
spew("$dir/files.py", <<'END');
import email.policy, sys
m = email.message_from_bytes(open(sys.argv[1], 'rb').read(), policy=email.policy.SMTP)
print([p.get_content().hex() for p in m.iter_attachments()])
END
my ($with) = grep { $_->[0] eq 'attachments' } @converted;
my ($status, $hex) = run_out('/usr/bin/python3', "$dir/files.py", $with->[1]);
is($hex =~ s/\s+\z//r, "['" . unpack('H*', $bytes) . "', '" . unpack('H*', "$bytes\r\n") . "']", 'Python reads the same bytes of attachments');

# To who has 8BITMIME all goes as it is; and to who has none when that is wanted.
my $text = "X-Eight: 1\r\n$head$label\r\n$umlaut";
is($gp->mail('s@client.test', 'r@eight.test', $text)->{code}, 250, 'mail for a server with 8BITMIME');
my ($m) = $eight->wait_messages(1);
is($m->{content} =~ s/\A.*?(?=^X-Eight)//msr, $text, 'as it is') if $m;
like($m->{mail}, qr/SIZE=\d+ BODY=8BITMIME/, 'with its size');
is($gp->mail('s@client.test', 'r@lmtp.test', $text)->{code}, 250, 'mail by LMTP');
my ($l) = $lmtp->wait_messages(1);
like($l->{content}, qr/^Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9Fe =3D \t=20\r\n/m, 'LMTP: converted, too');

my $many = "X-Chunks: 1\r\n$head$label\r\n" . ".gr\xc3\xbc\xc3\x9fe\r\ndrop\r\n" x 9000;
is($gp->mail('s@client.test', 'anna@chunks.test', $many)->{code}, 250, 'mail for a server with BDAT');
my ($k) = $chunks->wait_messages(1);
like($chunks->log, qr/C: BDAT \d+.*C: BDAT \d+ LAST/s, 'by chunks');
is(($k->{content} // '') =~ s/\A.*?(?=^X-Chunks)//msr, "X-Chunks: 1\r\n" . $head . "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    . ".gr=C3=BC=C3=9Fe\r\n" x 9000, 'converted and checked, without a dot more');

# A body in a file of its own, larger than what is sent at once.
my $large = "X-Large: 1\r\n$head$label\r\n" . ("gr\xc3\xbc\xc3\x9fe " . 'x' x 60 . "\r\n") x 8000;
is($gp->mail('s@client.test', 'r@convert.test', $large)->{code}, 250, 'large mail');
my ($big) = wait_until(20, sub { grep { $_->{content} =~ /^X-Large: 1\r$/m } $sink{gp}->messages });
($big) = grep { $_->{content} =~ /^X-Large: 1\r$/m } $sink{gp}->messages;
my $decoded = ($big->{content} // '') =~ s/\A.*?(?=^X-Large)//msr;
$decoded =~ s/=\r\n//g;
$decoded =~ s/=([0-9A-F]{2})/chr hex $1/ge;
is($decoded =~ s/^Content-Transfer-Encoding: quoted-printable/Content-Transfer-Encoding: 8bit/mr, $large, 'large: the same when it is decoded');

# What cannot be.
$gp->mark;
my $partial = "X-Partial: 1\r\n${head}Content-Type: message/partial; id=x\r\n$label\r\n\xe9\r\n";
is($gp->mail('s@client.test', 'r@convert.test', $partial)->{code}, 250, 'a part of a message with 8 bit');
$gp->wait_log(qr/to=<r\@convert\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .*, dsn=5\.6\.3, status=bounced \(8-bit data inside /, 'is returned');
my $deep = join '', "X-Deep: 1\r\n$head", map {"Content-Type: multipart/x; boundary=b$_\r\n$label\r\n--b$_\r\n"} 1 .. 105;
$deep .= "\r\n\xe9\r\n";
is($gp->mail('s@client.test', 'r@convert.test', $deep)->{code}, 250, 'parts in parts in parts');
$gp->wait_log(qr/to=<r\@convert\.test>, .*, dsn=5\.6\.0, status=bounced \(MIME nesting exceeds safety limit\)/, 'are returned');
my $utf8 = Gatepost::Smtp->new(port => $gp->port);
$utf8->hello;
is($utf8->mail("s\@client.test", "r\@convert.test", "Subject: gr\xc3\xbcn\r\n\r\nx\r\n", mail => 'SMTPUTF8')->{code}, 250, 'mail in UTF-8');
$gp->wait_log(qr/dsn=5\.6\.7, status=bounced \(SMTPUTF8 is required, but was not offered by host /, 'is returned, too');
ok(!(grep { $_->{content} =~ /^X-(Partial|Deep): 1\r$/m && $_->{from} ne '' } $sink{gp}->messages), 'nothing of them was taken');

# ---- Checks ----
my @checked = (
    ['every action', "X-Drop: 1\r\nX-Strip: 2\r\nX-Info: 3\r\nX-Warn: 4 " . ('long ' x 30) . "\r\nX-Dunno: 5\r\nX-Swap: six\r\nX-Top: 7\r\nX-Bad: 8\r\nX-Wrong: 9\r\n"
        . "X-Folded: a\r\n\tb\r\n\r\ndrop me\r\nwarn me\r\nreplace me\r\ntop\r\nplain\r\n"],
    ['parts', "Content-Type: multipart/mixed; boundary=b\r\nContent-Disposition: x\r\n\r\n" . parts('b', "Content-Disposition: inline;\r\n x=y\r\nX-Part: 1\r\n"
        . "X-Drop: kept\r\n\r\ndrop\r\ntext", "Content-Type: message/rfc822\r\n\r\nX-Inner: 1\r\nSubject: in\r\nX-Part: 2\r\nContent-ID: x\r\n\r\nwarn\r\nbody")],
    ['8 bit as it is', "$label\r\n\xe9 drop\r\ndrop \xe9\r\n"],
    ['long lines', "\r\n" . ('0123456789' x 500) . "\r\ndrop" . ('x' x 3000) . "\r\nend\r\n"],
    ['addresses stay', "Cc: anna\@own.example\r\n\r\nx\r\n"],
);
$gp->mark;
my $mark = length $postfix->log;
for my $row (@checked) {
    my ($what, $text) = @$row;
    my $got = through('s@client.test', 'r@check.test', $head . $text, mail => 'BODY=8BITMIME');
    is($got->{gp}{text}, $got->{postfix}{text}, "checks: $what");
}
ok($gp->drained, 'all is sent');
# postlogd writes when it has time for it; what becomes of a message is the last line of its program.
my $log;
ok(wait_until(20, sub {
    $log = substr $postfix->log, $mark;
    return @checked <= (() = $log =~ /to=<r\@check\.test>, .* status=sent .*\n/g);
}), 'and Postfix has logged it') or diag $log;
is(actions(join "\n", $gp->log_lines), actions($log), 'the log lines are the same');
like(actions(join "\n", $gp->log_lines), qr/^strip: header X-Strip: 2: stripped because$/m, 'and they are there');

# As long as a field may be: its text is not cut, nor is it too much for a table.
my $field = join "\r\n ", ('y' x 900) x 90;
my $long = through('s@client.test', 'r@check.test', "${head}X-Swap: $field\r\nX-Drop: 1\r\n\r\nx\r\n");
is($long->{gp}{text}, $long->{postfix}{text}, 'checks: a field of 80 KB');
like($long->{gp}{text}, qr/^X-Swapped: yyy/m, 'it is replaced');

# ---- Conversion, checks and addresses together ----
my @mapped = (
    ['from, to', 's@client.test', 'r@dest.test', "Cc: anna\@own.example\r\nReply-To: Bert <bert\@own.example>\r\n\r\nanna\@own.example\r\n"],
    ['extensions', 'anna+x@own.example', 'bert+y@own.example', "Sender: bert+z\@own.example\r\n\r\nx\r\n"],
    ['domains', 'x+y@in.example', 'X@In.Example', "Resent-From: x\@in.example\r\nResent-Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        . "Resent-Message-Id: <r\@x>\r\n\r\nx\r\n"],
    ['quoted', 'quoted@own.example', 'anna@own.example', "Cc: quoted\@own.example\r\n\r\nx\r\n"],
    ['null sender', '', 'r@dest.test', "\r\nx\r\n"],
    ['the new text is not looked up again', 'bert@own.example', 'r@out.example', "\r\nx\r\n"],
    ['many', 's@client.test', 'r@dest.test', "Cc: x\@in.example, anna\@own.example, somebody\@else.test, y\@in.example,\r\n\tz\@in.example, zz\@in.example\r\n\r\nx\r\n",
        'folding stays where it was', sub { s/(\nCc:.*?\r\n)(?![ \t])/$1 =~ s|\s+| |gr . "\r\n"/sre }],
    ['with 8 bit', 'anna@own.example', 'r@dest.test', "Cc: anna\@own.example\r\n$label\r\n\xc3\xa4\r\ndrop\r\n"],
    ['LMTP', 'bert@own.example', 'x@lmtpmap.test', "Cc: anna\@own.example\r\nX-Strip: 1\r\n$label\r\n\xc3\xa4" . ('long ' x 20) . "\r\ndrop\r\n"],
    ['inside of parts', 's@client.test', 'r@dest.test', "Content-Type: message/rfc822\r\n\r\nFrom: anna\@own.example\r\nSubject: y\r\n\r\nx\r\n"],
);
for my $row (@mapped) {
    my ($what, $from, $to, $text, $why, $change) = @$row;
    my $got = through($from, $to, $head . $text, mail => 'BODY=8BITMIME');
    my ($ours, $theirs) = @$got{qw(gp postfix)};
    is($ours->{from}, $theirs->{from}, "generic: $what: sender");
    is_deeply($ours->{rcpts}, $theirs->{rcpts}, "generic: $what: recipients");
    if ($change) { $_->{text} = do { local $_ = $_->{text}; $change->() } for $ours, $theirs }
    is($ours->{text}, $theirs->{text}, "generic: $what: content" . ($why ? ", but $why" : ''));
}

# ---- Tables that fail ----
$gp->mark;
is($gp->mail('s@client.test', 'r@nobody.test', "${head}\r\nx\r\n")->{code}, 250, 'mail with a table that fails');
$gp->wait_log(qr/to=<r\@nobody\.test>, .*, dsn=4\.3\.0, status=deferred \(local data error while talking to 127\.0\.0\.1\[127\.0\.0\.1\]\)/, 'waits');
is($gp->mail('s@client.test', 'r@nowhere.test', "${head}\r\nx\r\n")->{code}, 250, 'mail with another one');
$gp->wait_log(qr/to=<r\@nowhere\.test>, .*, dsn=4\.3\.0, status=deferred \(generic address lookup error\)/, 'waits, too');
$gp->tool('gateq', 'delete', 'ALL');
$gp->stop;
done_testing;
